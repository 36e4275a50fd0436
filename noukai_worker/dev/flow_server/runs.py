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

from .flows import Flow, Step, Tokens

Trigger = Literal["execute", "step", "job"]
Status = Literal["pending", "running", "paused", "completed", "failed"]
Ended = Literal["completed", "failed"]

#: How many runs are remembered; the oldest is forgotten first.
REMEMBERED_RUNS = 50_000


@dataclass(slots=True)
class StepRecord:
    """One execution of one step, or one lap of a step that loops; times are epoch seconds."""

    step_id: str
    attempt: int
    started_at: float
    loop_index: int | None = None
    status: Literal["running", "completed", "failed"] = "running"
    completed_at: float | None = None
    input: JsonValue = None
    input_shown: bool = False
    output: JsonValue = None
    error: dict[str, JsonValue] | None = None
    tokens: Tokens | None = None
    cost_usd: str | None = None

    def complete(self, output: JsonValue, now: float, tokens: Tokens, cost_usd: str) -> None:
        """Note that it is done."""
        self.status, self.output, self.completed_at, self.tokens, self.cost_usd = (
            "completed",
            output,
            now,
            tokens,
            cost_usd,
        )

    def fail(self, error: dict[str, JsonValue], now: float) -> None:
        """Note that it failed."""
        self.status, self.error, self.completed_at = "failed", error, now


@dataclass(frozen=True, slots=True)
class Pause:
    """What the caller was asked to do, and after how many rounds of asking."""

    step_id: str
    rounds: int
    call_ids: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Run:
    """A run, as the service knows it under its execution id; ``key`` is the API key that began it."""

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
    key: str = ""
    execution_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: Status = "running"
    completed_at: float | None = None
    steps: tuple[Step, ...] = ()
    outputs: dict[str, JsonValue] = field(default_factory=dict)
    result: JsonValue = None
    records: list[StepRecord] = field(default_factory=list)
    tool_iterations: int = 0
    #: Not answered yet. More than one if an answer was given but its outcome was lost on the way (`step`).
    pauses: list[Pause] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.steps = self.flow.steps_for(self.parameters)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended; one that is stepped through can be taken up again after a failure."""
        return self.status in ("completed", "failed")

    def step_position(self, step_id: str) -> int | None:
        """Return where ``step_id`` stands in the flow."""
        return next((position for position, step in enumerate(self.steps) if step.id == step_id), None)

    def begin_step(self, step: Step, now: float) -> StepRecord:
        """Note that ``step`` starts; return its record."""
        self.abandon_step(now)
        attempt = 1 + sum(record.step_id == step.id and record.loop_index is None for record in self.records)
        record = StepRecord(step.id, attempt, now)
        self.records.append(record)
        self.status, self.completed_at = "running", None
        return record

    def begin_lap(self, step: StepRecord, loop_index: int, now: float) -> StepRecord:
        """Note that a lap of ``step`` starts; return its record."""
        lap = StepRecord(step.step_id, step.attempt, now, loop_index)
        self.records.append(lap)
        return lap

    def resume_step(self, step: Step, now: float) -> StepRecord:
        """Return the record of ``step``, whose caller comes back with tool results."""
        latest = next((record for record in reversed(self.records) if record.step_id == step.id), None)
        if latest is None or latest.status != "running":
            return self.begin_step(step, now)
        self.status = "running"
        return latest

    def laps(self, step: StepRecord) -> list[StepRecord]:
        """Return the laps of a step that loops."""
        return [
            record
            for record in self.records
            if record.loop_index is not None and (record.step_id, record.attempt) == (step.step_id, step.attempt)
        ]

    def abandon_step(self, now: float) -> list[StepRecord]:
        """Note that nobody waits any more for what was under way; return that."""
        abandoned = [record for record in self.records if record.status == "running"]
        for record in abandoned:
            record.fail({"code": "ABANDONED", "message": "The caller left before this step was done."}, now)
        return abandoned

    def finish(self, status: Ended, result: JsonValue, now: float) -> None:
        """Note the end of the run."""
        self.status, self.result, self.completed_at = status, result, now


class Runs:
    """The remembered runs by execution id."""

    def __init__(self, limit: int = REMEMBERED_RUNS) -> None:
        self._limit = limit
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def add(self, run: Run) -> Run | None:
        """Remember ``run``; return the oldest, forgotten, beyond the limit."""
        self._runs[run.execution_id] = run
        return self._runs.popitem(last=False)[1] if len(self._runs) > self._limit else None

    def find(self, execution_id: str | None) -> Run | None:
        """Return the run, or None."""
        return self._runs.get(execution_id) if execution_id else None
