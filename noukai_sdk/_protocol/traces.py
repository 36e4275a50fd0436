"""This room holds the conversations about runs: what happened in one, and what is happening (WIRE.md 5.3, 5.4)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from noukai_sdk._errors import NoukaiError, StreamInterruptedError
from noukai_sdk._models.frames import Frame
from noukai_sdk._models.traces import StepAttempts, StepTrace, Trace
from noukai_sdk._protocol.body import read
from noukai_sdk._protocol.effects import Effect, Send
from noukai_sdk._protocol.frames import frame_of, too_large, whole
from noukai_sdk._protocol.paths import Attempt, step_trace_path
from noukai_sdk._protocol.replies import object_in, odd_reply
from noukai_sdk._protocol.retry import ask
from noukai_sdk._protocol.sse import Event, SSEDecoder


@dataclass(frozen=True, slots=True)
class Traces:
    """Questions about one run; `path` is what their paths begin with."""

    execution_id: str
    path: str
    max_retries: int

    def whole(self, timeout: float | None) -> Generator[Effect, Any, Trace]:
        """The run and its steps. `timeout` in seconds, None for the client's."""
        reply = yield from ask(Send("GET", f"{self.path}/trace", timeout=timeout), self.max_retries)
        return object_in(reply, Trace, "a trace")

    def of_step(
        self, step_id: str, attempt: Attempt, loop_index: int | None, timeout: float | None
    ) -> Generator[Effect, Any, StepTrace | StepAttempts]:
        """One attempt at a step, or all. `timeout` in seconds, None for the client's."""
        path = step_trace_path(self.path, step_id, attempt, loop_index)
        reply = yield from ask(Send("GET", path, timeout=timeout), self.max_retries)
        if attempt == "all":
            return object_in(reply, StepAttempts, "the attempts at a step")
        trace = object_in(reply, StepTrace, "the trace of a step")
        if not trace.step_id:
            raise odd_reply(reply, "is not the trace of a step (see stepId)")
        return trace

    def live(self, max_frame_bytes: int) -> Generator[Effect, Any, None]:
        """The run's frames as they come. The end of the body is the end. Raises NoukaiError."""
        send = Send("GET", f"{self.path}/trace/stream", stream=True)
        try:
            yield from read(send, TraceMachine(max_frame_bytes), self.max_retries)
        except StreamInterruptedError as error:
            # What the drivers advise is for streams that have checkpoints.
            what = str(error).partition(";")[0]
            raise type(error)(
                f"{what}; ask for the live trace again, it begins with the run",
                code=error.code,
                execution_id=self.execution_id,
                sent=error.sent,
            ) from error
        except NoukaiError as error:
            error.execution_id = error.execution_id or self.execution_id
            raise


class TraceMachine:
    """Reads a live trace: all frames as the server sends them, to the end of the body."""

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._decoder = SSEDecoder(max_frame_bytes)
        self.reading = True
        self.failure: NoukaiError | None = None

    def receive(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes."""
        return self._frames(self._decoder.feed(chunk))

    def end_of_body(self) -> list[Frame]:
        """The last frame, if its blank line was missing."""
        self.reading = False
        return self._frames(whole(self._decoder.end()))

    def _frames(self, events: list[Event]) -> list[Frame]:
        if self._decoder.overflow:
            self.failure = too_large(self._max_frame_bytes)
        return [frame_of(name, data) for name, data in events]
