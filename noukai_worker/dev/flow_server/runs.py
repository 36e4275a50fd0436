"""One record per run: all that the service must remember between calls (WIRE.md 4.1, 10.5).

Callers send message, parameters, attachments and session only once. Later calls, jobs, traces and session replay
are answered from here.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from .flows import Flow, Step

Trigger = Literal["execute", "step", "job"]
Status = Literal["running", "paused", "completed", "failed"]

#: How many runs are remembered; the oldest is forgotten first.
REMEMBERED_RUNS = 50_000


@dataclass(slots=True)
class StepRecord:
    """One execution of one step; times are epoch seconds."""

    step_id: str
    attempt: int
    started_at: float
    status: Literal["running", "completed", "failed"] = "running"
    completed_at: float | None = None
    input: JsonValue = None
    output: JsonValue = None
    error: dict[str, JsonValue] | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """A run, as the service knows it under its execution id."""

    flow: Flow
    version: str
    trigger: Trigger
    session_id: str | None
    message: str | None
    messages: list[dict[str, JsonValue]]
    parameters: dict[str, JsonValue]
    attachments: list[dict[str, JsonValue]]
    trace: bool
    started_at: float
    execution_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: Status = "running"
    completed_at: float | None = None
    steps: tuple[Step, ...] = ()
    outputs: dict[str, JsonValue] = field(default_factory=dict)
    result: JsonValue = None
    records: list[StepRecord] = field(default_factory=list)
    tool_iterations: int = 0
    #: call id → (step id, round): what the run has asked its caller to do.
    tool_calls: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.steps = self.flow.steps_for(self.parameters)

    def step_position(self, step_id: str) -> int | None:
        """Return where ``step_id`` stands in the flow."""
        return next((position for position, step in enumerate(self.steps) if step.id == step_id), None)

    def begin_step(self, step: Step, now: float) -> StepRecord:
        """Note that ``step`` starts; return its record."""
        attempt = 1 + sum(record.step_id == step.id for record in self.records)
        record = StepRecord(step.id, attempt, now)
        self.records.append(record)
        self.status = "running"
        return record

    def resume_step(self, step: Step, now: float) -> StepRecord:
        """Return the record of ``step``, whose caller comes back with tool results."""
        self.status = "running"
        latest = next((record for record in reversed(self.records) if record.step_id == step.id), None)
        return latest if latest is not None and latest.status == "running" else self.begin_step(step, now)

    def finish(self, status: Literal["completed", "failed"], result: JsonValue, now: float) -> None:
        """Note the end of the run."""
        self.status, self.result, self.completed_at = status, result, now


class Runs:
    """The remembered runs by execution id."""

    def __init__(self, limit: int = REMEMBERED_RUNS) -> None:
        self._limit = limit
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def add(self, run: Run) -> None:
        """Remember ``run``, forgetting the oldest beyond the limit."""
        self._runs[run.execution_id] = run
        if len(self._runs) > self._limit:
            self._runs.popitem(last=False)

    def find(self, execution_id: str | None) -> Run | None:
        """Return the run, or None."""
        return self._runs.get(execution_id) if execution_id else None
