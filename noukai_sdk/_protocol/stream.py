"""This room holds the step protocol as a machine: bytes in, frames and the next request out (WIRE.md 4).

A flow is a number of calls to /step; each answers with a stream of frames.

    state of a call   ends by                                       then
    READING           step_paused, with a step done since its POST  PAUSED     next call
                      step_paused, without                          (StreamProtocolError: it would repeat forever)
                      step_paused_for_tool_calls                    TOOLS      next call, once answered
                      flow_completed, step_error                    FINISHED   no more calls
                      end of body                                   (StreamInterruptedError)
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from noukai_sdk._errors import NoukaiError, StreamInterruptedError, StreamProtocolError
from noukai_sdk._json import compact
from noukai_sdk._models.checkpoint import Checkpoint
from noukai_sdk._models.frames import Frame
from noukai_sdk._models.requests import StepRequest, tool_messages, warn_of_many, without_none
from noukai_sdk._protocol.frames import DEFAULT_MAX_FRAME_BYTES, frame_of, too_large, whole
from noukai_sdk._protocol.sse import Event, SSEDecoder

_CONTROL = frozenset(
    {
        "run_started",
        "flow_started",
        "step_completed",
        "step_paused",
        "step_paused_for_tool_calls",
        "step_error",
        "flow_completed",
    }
)
_log = logging.getLogger("noukai_sdk.streaming")


class State(enum.Enum):
    """Where the present call stands."""

    READING = enum.auto()
    PAUSED = enum.auto()
    TOOLS = enum.auto()
    FINISHED = enum.auto()


@dataclass(frozen=True, slots=True)
class ToolPause:
    """What a step waits for: `messages` and `iterations_used` go back, with the results of `calls` appended."""

    calls: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    iterations_used: int


class StepMachine:
    """The cursor of one flow. Feed it a call's body; when `state` is no longer READING, ask for the `next_body`."""

    def __init__(
        self,
        request: StepRequest,
        *,
        checkpoint: Checkpoint | None = None,
        tool_call_messages: list[dict[str, Any]] | None = None,
        iterations_used: int = 0,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        start = checkpoint or Checkpoint()
        self._request = request
        self._max_frame_bytes = max_frame_bytes
        self._decoder = SSEDecoder(max_frame_bytes)
        self._call_started_at = start.step_index
        self._answers = tool_call_messages
        self._iterations_used = iterations_used
        self.execution_id = start.execution_id
        self.step_index = start.step_index
        # Never changed in place: checkpoints handed out share it.
        self.outputs = start.outputs
        self.state = State.READING
        self.pause: ToolPause | None = None
        self.failure: NoukaiError | None = None

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the run stands after the frames read so far."""
        return Checkpoint(self.execution_id, self.step_index, self.outputs)

    @property
    def reading(self) -> bool:
        """Whether the present call goes on."""
        return self.state is State.READING

    @property
    def answered(self) -> bool:
        """Whether there is something to send after a tool pause."""
        return self._answers is not None

    def next_body(self) -> dict[str, Any]:
        """The body of the next call (WIRE.md 4.1), whose answer is to be fed next."""
        request, answers = self._request, self._answers
        # A step 0 that was cut off starts over, and the service documents `message` as required there.
        has_input = self.step_index == 0 and answers is None
        if answers is not None:
            warn_of_many(answers)
        body = {
            "executionId": self.execution_id,
            "stepIndex": self.step_index,
            "accumulatedOutputs": self.outputs,
            "message": request.message if has_input else None,
            "parameters": (request.parameters or {}) if has_input else {},
            "attachments": request.attachments if has_input else None,
            "inputOverrides": request.input_overrides or {},
            "blockOverrides": request.block_overrides,
            "runRemaining": request.run_remaining,
            "tools": request.tools,
            "toolChoice": request.tool_choice,
            "toolCallMessages": answers,
            "iterationsUsed": self._iterations_used,
            "trace": request.trace,
        }
        self._decoder = SSEDecoder(self._max_frame_bytes)
        self._call_started_at = self.step_index
        self._answers, self._iterations_used, self.pause = None, 0, None
        self.state = State.READING
        return without_none(body)

    def answer(self, results: Any, source: str = "tool_handler") -> None:
        """Take the results of the pending tool calls for the next call. Raises TypeError for odd results."""
        if self.pause is None:
            raise RuntimeError("no tool calls are pending")
        self._answers = [*self.pause.messages, *tool_messages(results, source)]
        self._iterations_used = self.pause.iterations_used

    def receive(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes. If `failure` is set then, it comes after them."""
        return self._frames(self._decoder.feed(chunk))

    def end_of_body(self) -> list[Frame]:
        """The last frame, if its blank line was missing. A body that ends too early sets `failure`."""
        frames = self._frames(whole(self._decoder.end()))
        if self.state is State.READING and self.failure is None:
            self.failure = StreamInterruptedError("the stream ended before the flow did; resume at error.checkpoint")
        return frames

    def _frames(self, events: list[Event]) -> list[Frame]:
        frames: list[Frame] = []
        rules = _RULES
        for name, data in events:
            frame = frame_of(name, data)
            rule = rules.get(frame.type)
            if rule is None and not frame.malformed:  # most frames
                frames.append(frame)
                continue
            try:
                if rule is None or frame.malformed:
                    _tolerate(frame)
                else:
                    rule(self, frame)
            except StreamProtocolError as error:
                self.failure = error
                return frames
            frames.append(frame)
            if self.state is not State.READING:
                return frames
        if self._decoder.overflow:
            self.failure = too_large(self._max_frame_bytes)
        return frames

    def _on_run_started(self, frame: Frame) -> None:
        execution_id = frame.payload.get("executionId")
        if isinstance(execution_id, str) and execution_id:
            self.execution_id = execution_id
            frame.checkpoint = self.checkpoint

    def _on_step_started(self, frame: Frame) -> None:
        _place(frame, self.step_index)

    def _on_step_completed(self, frame: Frame) -> None:
        step_id = _step_id(frame)
        _place(frame, self.step_index)
        self.outputs = {**self.outputs, step_id: frame.payload.get("output")}
        self.step_index += 1
        frame.checkpoint = self.checkpoint

    def _on_step_paused(self, frame: Frame) -> None:
        if self.step_index == self._call_started_at:
            raise StreamProtocolError(
                f"the server paused at step {self.step_index} without having completed a step; asking again would repeat it"
            )
        _place(frame, self.step_index - 1)
        self.state = State.PAUSED

    def _on_tool_calls(self, frame: Frame) -> None:
        payload = frame.payload
        execution_id = payload.get("executionId") or self.execution_id
        messages, calls = payload.get("toolCallMessages"), payload.get("toolCalls") or []
        if not isinstance(execution_id, str) or not _is_object_list(messages) or not _is_object_list(calls):
            raise _unusable(frame, "executionId, toolCallMessages and toolCalls")
        index, iterations, outputs = (
            payload.get("stepIndex"),
            payload.get("iterationsUsed"),
            payload.get("accumulatedOutputs"),
        )
        self.execution_id = execution_id
        # In this event the index counts from the start of the flow (WIRE.md 4.3, trap b).
        if _is_count(index):
            self.step_index = index
        if isinstance(outputs, dict):
            self.outputs = {**self.outputs, **outputs}
        self.pause = ToolPause(calls, messages, iterations if _is_count(iterations) else 0)
        self.state = State.TOOLS
        frame.checkpoint = self.checkpoint

    def _on_end(self, _: Frame) -> None:
        self.state = State.FINISHED


_RULES: Final[dict[str, Callable[[StepMachine, Frame], None]]] = {
    "run_started": StepMachine._on_run_started,
    "flow_started": StepMachine._on_run_started,
    "step_started": StepMachine._on_step_started,
    "step_completed": StepMachine._on_step_completed,
    "step_paused": StepMachine._on_step_paused,
    "step_paused_for_tool_calls": StepMachine._on_tool_calls,
    "step_error": StepMachine._on_end,
    "flow_completed": StepMachine._on_end,
}


def _tolerate(frame: Frame) -> None:
    start = frame.payload["malformed"]
    if frame.type in _CONTROL:
        raise StreamProtocolError(f"the frame {frame.type} is not a JSON object: {start[:200]!r}")
    _log.warning("frame %r is not a JSON object: %.200r", frame.type, start)


def _place(frame: Frame, index: int) -> None:
    """Make the frame's index count from the start of the flow, in the payload and in the bytes."""
    present = frame.payload.get("stepIndex")
    if present != index or type(present) is not int:
        frame.payload["stepIndex"] = index
        frame.data = compact(frame.payload)


def _step_id(frame: Frame) -> str:
    step_id = frame.payload.get("stepId")
    if isinstance(step_id, int) and not isinstance(step_id, bool):
        return str(step_id)
    if not isinstance(step_id, str) or not step_id:
        raise _unusable(frame, "stepId")
    return step_id


def _unusable(frame: Frame, fields: str) -> StreamProtocolError:
    return StreamProtocolError(f"the frame {frame.type} has no usable {fields}: {frame.data[:200]!r}")


def _is_object_list(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
