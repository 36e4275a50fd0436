"""What a run is: its states, the one table of legal transitions, and how it looks to a reader.

The rules, in words:

* A run is `queued` when it is recorded. A claim makes it `running` and counts an attempt.
* Only the holder of the lease, with the current attempt number, moves a running run; a sweeper does so when the lease has run out.
* An attempt ends by finishing (`completed`, `failed`), by waiting (`retrying`, `paused`) or by giving the run back (`queued`).
* Whoever waits is `queued` again before anybody may claim it.
* Anybody may cancel what has not ended. What has ended never changes, but a failed run may be tried once more (`redrive`): it
  then has not ended after all, and its log says so in the place of its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from .entry import Entry


class State(StrEnum):
    """Where a run is in its life (DESIGN 2, the life of a run)."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a run in this state has ended."""
        return self in ENDS


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.FAILED, State.CANCELLED}),
    State.RUNNING: frozenset(
        {State.QUEUED, State.RETRYING, State.PAUSED, State.COMPLETED, State.FAILED, State.CANCELLED},
    ),
    State.RETRYING: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
    State.PAUSED: frozenset({State.QUEUED, State.FAILED, State.CANCELLED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset(),
}
"""The scripts carry this very table (`scripts.py` renders it), and refuse every other transition."""

ENDS = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
"""The states of a run that has ended."""


FINDERS = 3
"""Attempts beyond a run's limit that may find out what became of its last paid call, and make none."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a streaming run is known to have come; the next attempt starts there (law 6)."""

    execution_id: str | None = None
    step_index: int = 0
    """The first step that is not known to have finished."""
    outputs: dict[str, Any] = field(default_factory=dict)
    step_count: int | None = None
    last_step: str | None = None
    """The id of the last step that has finished."""

    @property
    def finished(self) -> bool:
        """Whether every step is known to have finished; then the flow's result is the output of `last_step` (WIRE 4.5)."""
        return self.step_count is not None and self.step_index >= self.step_count and self.last_step in self.outputs


@dataclass(frozen=True, slots=True)
class Reply:
    """What a flow that waited for tool results is to go on with."""

    continuation: dict[str, Any]
    """The data of the `run.paused` entry: which call to answer, in which execution."""
    results: list[dict[str, Any]] | None = None
    """Tool results as the service takes them (WIRE 3.2); None while the functions that are to give them run."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt, or a run, did not succeed."""

    code: str
    message: str

    def __post_init__(self) -> None:
        # Others say it, and it must be written down: lone surrogates are not text.
        for name in ("code", "message"):
            object.__setattr__(self, name, getattr(self, name).encode(errors="replace").decode())


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a run: without the current attempt number nothing can be written (law 4)."""

    run_id: str
    attempt: int
    position: int
    """The last seq of the log at the moment of the claim."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it may be shown. Times are Unix seconds."""

    id: str
    flow: str
    mode: str
    state: State
    attempt: int
    position: int
    """The last seq of its log."""
    created_at: float
    updated_at: float
    deadline: float | None
    """When somebody will look at it if nothing happens; None for a run that has ended."""
    step_index: int
    step_count: int | None
    execution_id: str | None
    metadata: dict[str, Any]
    last: Entry
    """The newest entry; for a run that has ended, its terminal one."""
    token: str = field(repr=False)
    credential: str = "default"
    """The name of the API key that it is to be run with."""

    def public(self) -> dict[str, Any]:
        """The run as a JSON object for whoever may read it: times in RFC 3339, never the token."""
        failure = self.failure
        return {
            "id": self.id,
            "flow": self.flow,
            "mode": self.mode,
            "status": self.state,
            "attempt": self.attempt,
            "position": self.position,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "deadline": None if self.deadline is None else rfc3339(self.deadline),
            "step_index": self.step_index,
            "step_count": self.step_count,
            "execution_id": self.execution_id,
            "metadata": self.metadata,
            "result": self.result,
            "error": {"code": failure.code, "message": failure.message} if failure else None,
            "waiting_for": self.waiting_for,
        }

    @property
    def result(self) -> Any:
        """The flow's output; None unless the run is completed."""
        return self.last.data.get("result") if self.state is State.COMPLETED else None

    @property
    def waiting_for(self) -> list[Any] | None:
        """The tool calls that are to be answered, as the service sent them (WIRE 3.2); None unless the run is paused."""
        return (self.last.data.get("tool_calls") or []) if self.state is State.PAUSED else None

    @property
    def failure(self) -> Failure | None:
        """Why the run failed; None unless it did."""
        if self.state is not State.FAILED:
            return None
        return Failure(str(self.last.data.get("code")), str(self.last.data.get("message")))


def rfc3339(seconds: float) -> str:
    """A moment in Unix seconds as the log writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
