"""This room holds what `steps` and `events` return: iterators of typed events, with a faster one of raw frames inside."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any, Generic, Self, TypeVar

from noukai_sdk._drive import AsyncBatches, Batches
from noukai_sdk._models.checkpoint import Checkpoint
from noukai_sdk._models.events import ToolCallsRequired, event_names
from noukai_sdk._models.frames import Frame
from noukai_sdk._protocol.stream import StepMachine

E = TypeVar("E", covariant=True)
EVERY_EVENT: Collection[str] = frozenset(event_names)
STEP_EVENTS: Collection[str] = frozenset({"step_completed", "step_error", "step_paused_for_tool_calls"})


class _Events(Generic[E]):
    """Frames in, events out."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self._frames: deque[Frame] = deque()
        self._behind: Checkpoint | None = None

    def _next_event(self) -> E | None:
        frames, wanted = self._frames, self._wanted
        while frames:
            frame = frames.popleft()
            if frame.checkpoint is not None:
                self._behind = frame.checkpoint
            if frame.type in wanted and (event := frame.event()) is not None:
                return event  # type: ignore[return-value]  # the wanted are all of type E
        return None


class _Cursor:
    """The position of a stream that can be resumed."""

    _machine: StepMachine
    _behind: Checkpoint | None

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the run stands after the last event, or batch, that was taken. Cheap: outputs are shared, not copied."""
        return self._machine.checkpoint if self._behind is None else self._behind

    @property
    def execution_id(self) -> str | None:
        """The run's id, once the server has named it."""
        return self._machine.execution_id


class LiveTrace(_Events[E], Iterator[E]):
    """A run as it happens, as `Run.live_trace` returns it. Iterate it; close it, or use it in a `with` statement."""

    def __init__(self, batches: Batches, wanted: Collection[str] = EVERY_EVENT) -> None:
        super().__init__(wanted)
        self._batches = batches

    def __next__(self) -> E:
        while (event := self._next_event()) is None:
            self._frames.extend(next(self._batches))
        return event

    def batches(self) -> Iterator[list[Frame]]:
        """The stream as lists of frames, one list per network read, with frames of every type.

        Use either this or the typed iteration of a stream: what one of them has taken, the other does not see.
        """
        self._behind = None
        return self._batches

    def close(self) -> None:
        """End the stream and free its connection, also under a thread that waits for its next event.

        The run on the server is not told.
        """
        self._frames.clear()
        self._batches.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EventStream(_Cursor, LiveTrace[E]):
    """A running step stream of a `Flow`. Iterate it, or its `batches()`; close it, or use it in a `with` statement."""

    def __init__(self, machine: StepMachine, batches: Batches, wanted: Collection[str]) -> None:
        super().__init__(batches, wanted)
        self._machine = machine
        self._behind = machine.checkpoint


class AsyncLiveTrace(_Events[E], AsyncIterator[E]):
    """A run as it happens, as `AsyncRun.live_trace` returns it. Iterate it; `aclose()` it, or use `async with`."""

    def __init__(self, batches: AsyncBatches, wanted: Collection[str] = EVERY_EVENT) -> None:
        super().__init__(wanted)
        self._batches = batches

    async def __anext__(self) -> E:
        while (event := self._next_event()) is None:
            self._frames.extend(await anext(self._batches))
        return event

    def batches(self) -> AsyncIterator[list[Frame]]:
        """The stream as lists of frames, one list per network read, with frames of every type.

        Use either this or the typed iteration of a stream: what one of them has taken, the other does not see.
        """
        self._behind = None
        return self._batches

    def half_close(self) -> bool:
        """Tell the server that its caller is going, while what it has written already can still be read.

        Closing at once loses what was on its way: a step's end, perhaps, and the step would be paid for again. Go on iterating
        until StreamInterruptedError, for as long as you care to wait: a server need not take the hint. False if there is
        nothing to close half of, as before the first event and with a transport that does not tell its socket.
        """
        return self._batches.half_close()

    async def aclose(self) -> None:
        """End the stream and free its connection. The run on the server is not told."""
        self._frames.clear()
        await self._batches.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class AsyncEventStream(_Cursor, AsyncLiveTrace[E]):
    """A running step stream of an `AsyncFlow`; iterate it or its `batches()`; `aclose()` it, or use `async with`."""

    def __init__(self, machine: StepMachine, batches: AsyncBatches, wanted: Collection[str]) -> None:
        super().__init__(batches, wanted)
        self._machine = machine
        self._behind = machine.checkpoint

    async def __anext__(self) -> E:
        while (event := self._next_event()) is None:
            self._frames.extend(await anext(self._batches))
        if isinstance(event, ToolCallsRequired):
            event._answer = self._answer
        return event

    def _answer(self, tool_results: Any) -> None:
        self._machine.answer(tool_results, "resume")
