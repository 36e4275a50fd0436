"""This room holds runs as a caller sees them, to be looked into."""

from __future__ import annotations

from typing import Any

from noukai_sdk._config import count, limit
from noukai_sdk._drive import AsyncBatches, Batches, arun, run
from noukai_sdk._drive.effects import AsyncConnection, SyncConnection
from noukai_sdk._models.events import StreamEvent
from noukai_sdk._models.traces import StepAttempts, StepTrace, Trace
from noukai_sdk._protocol.frames import DEFAULT_MAX_FRAME_BYTES
from noukai_sdk._protocol.paths import Attempt
from noukai_sdk._protocol.traces import Traces
from noukai_sdk._streams import AsyncLiveTrace, LiveTrace
from noukai_sdk._transport import Connection


class _Run:
    def __init__(self, connection: Connection[Any], traces: Traces) -> None:
        self._connection = connection
        self._traces = traces

    @property
    def execution_id(self) -> str:
        return self._traces.execution_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.execution_id!r})"


class Run(_Run):
    """A run, by its id. Made by `Flow.run()`."""

    _connection: SyncConnection

    def trace(self, *, timeout: float | None = None) -> Trace:
        """What happened so far (WIRE.md 5.3). `timeout` is in seconds and bounds silence. Raises NoukaiError."""
        return run(self._traces.whole(limit(timeout)), self._connection)

    def step_trace(
        self,
        step_id: str,
        *,
        attempt: Attempt = "latest",
        loop_index: int | None = None,
        timeout: float | None = None,
    ) -> StepTrace | StepAttempts:
        """The trace of one step: its "latest" attempt, the one of that number, or "all" (StepAttempts).

        `loop_index` picks one round of a loop. `timeout` is in seconds and bounds silence. Raises ValueError and
        NoukaiError.
        """
        conversation = self._traces.of_step(step_id, _attempt(attempt), _loop_index(loop_index), limit(timeout))
        return run(conversation, self._connection)

    def live_trace(
        self, *, timeout: float | None = None, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    ) -> LiveTrace[StreamEvent]:
        """The run's events as they happen, from its start, to the end of what the server sends (WIRE.md 5.4).

        `step_index` is the server's own. `timeout` is a deadline for the whole, in seconds; silence is bounded by the
        client's. No request is sent before the first item is asked for. Raises NoukaiError while iterating.
        """
        conversation = self._traces.live(max_frame_bytes)
        return LiveTrace(Batches(conversation, self._connection, limit(timeout)))


class AsyncRun(_Run):
    """A run, by its id. Made by `AsyncFlow.run()`."""

    _connection: AsyncConnection

    async def trace(self, *, timeout: float | None = None) -> Trace:  # noqa: ASYNC109 -- the published SDK's name
        """As `Run.trace`."""
        return await arun(self._traces.whole(limit(timeout)), self._connection)

    async def step_trace(
        self,
        step_id: str,
        *,
        attempt: Attempt = "latest",
        loop_index: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- the published SDK's name
    ) -> StepTrace | StepAttempts:
        """As `Run.step_trace`."""
        conversation = self._traces.of_step(step_id, _attempt(attempt), _loop_index(loop_index), limit(timeout))
        return await arun(conversation, self._connection)

    def live_trace(
        self, *, timeout: float | None = None, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    ) -> AsyncLiveTrace[StreamEvent]:
        """As `Run.live_trace`, to be iterated with `async for`."""
        conversation = self._traces.live(max_frame_bytes)
        return AsyncLiveTrace(AsyncBatches(conversation, self._connection, limit(timeout)))


def _attempt(attempt: Attempt) -> Attempt:
    if isinstance(attempt, str):
        if attempt in {"latest", "all"}:
            return attempt
        raise ValueError(f'attempt must be "latest", "all" or a number, not {attempt!r}')
    return count(attempt, "attempt")


def _loop_index(loop_index: int | None) -> int | None:
    return None if loop_index is None else count(loop_index, "loop_index")
