"""This room holds the typed events of a step stream (WIRE.md 4.3).

No field is required and no value is refused: a server that sends an odd field costs us that field's type, never the
event. What cannot be read as declared is kept as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from noukai_sdk._errors import StepFailedError
from noukai_sdk._models.causes import code_and_message


def _zero_for_null(value: Any) -> Any:
    return 0 if value is None else value


def _decimal_text(value: Any) -> Any:
    # The wire sends a decimal string; a server that sends a number means the same.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Count = Annotated[int, BeforeValidator(_zero_for_null)]


class TokenBreakdown(BaseModel):
    """Tokens a step used."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    prompt: _Count = 0
    completion: _Count = 0
    total: _Count = 0


class Event(BaseModel):
    """What the events of a stream have in common."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore", defer_build=True)

    event_type: str

    @cached_property
    def raw(self) -> dict[str, Any] | None:
        """The parsed payload as it came, unknown members included; None for an event made by hand."""
        return None

    @classmethod
    def from_payload(cls, event_type: str, payload: dict[str, Any]) -> Self:
        """The event that `payload` describes; never raises."""
        try:
            event: Self = cls.__pydantic_validator__.validate_python(payload)
        except ValidationError as error:
            event = cls._without_what_is_odd(payload, error)
        members = event.__dict__
        if members["event_type"] != event_type:
            members["event_type"] = event_type
        # Where a cached property keeps its value: copied and pickled, but no part of equality and dumps.
        members["raw"] = payload
        return event

    @classmethod
    def _without_what_is_odd(cls, payload: dict[str, Any], error: ValidationError) -> Self:
        odd = {problem["loc"][0] for problem in error.errors(include_url=False, include_input=False)}
        event = cls.model_validate({key: value for key, value in payload.items() if key not in odd})
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if key in odd and payload[key] is not None:
                event.__dict__[name] = payload[key]
        return event


class RunStarted(Event):
    """The run has an id now."""

    event_type: Literal["run_started", "flow_started"] = Field(default="run_started", alias="eventType")
    run_id: str | None = Field(default=None, alias="runId")
    execution_id: str | None = Field(default=None, alias="executionId")
    flow_id: str | None = Field(default=None, alias="flowId")
    step_count: int | None = Field(default=None, alias="stepCount")


class StepStarted(Event):
    """A step begins; `step_index` counts from the start of the flow."""

    event_type: Literal["step_started"] = Field(default="step_started", alias="eventType")
    step_id: str = Field(default="", alias="stepId")
    name: str | None = None
    step_index: int = Field(default=0, alias="stepIndex")


class StepInput(Event):
    """What a step works on."""

    event_type: Literal["step_input"] = Field(default="step_input", alias="eventType")
    step_id: str = Field(default="", alias="stepId")
    input_data: Any = Field(default=None, alias="inputData")


class StepOutput(Event):
    """A piece of a step's output, partial or final."""

    event_type: Literal["step_output"] = Field(default="step_output", alias="eventType")
    step_id: str = Field(default="", alias="stepId")
    output_data: Any = Field(default=None, alias="outputData")


class StepCompleted(Event):
    """A step ended well. `duration_ms` in milliseconds, `cost_usd` a decimal string."""

    event_type: Literal["step_completed"] = Field(default="step_completed", alias="eventType")
    step_id: str = Field(default="", alias="stepId")
    name: str | None = None
    output: Any = None
    duration_ms: int | float | None = Field(default=None, alias="durationMs")
    tokens: TokenBreakdown | None = None
    cost_usd: Annotated[str | None, BeforeValidator(_decimal_text)] = Field(default=None, alias="costUsd")
    step_index: int = Field(default=0, alias="stepIndex")


class StepFailed(Event):
    """A step failed, and the flow with it. `error` is usually `{"code", "message"}`."""

    event_type: Literal["step_error"] = Field(default="step_error", alias="eventType")
    step_id: str = Field(default="", alias="stepId")
    name: str | None = None
    error: Any = None

    @property
    def output(self) -> NoReturn:
        """There is none. Raises StepFailedError, so that a loop over `steps()` cannot take a failure for an output."""
        code, message = code_and_message(self.error)
        cause = ": ".join(filter(None, (code, message))) or "no reason was given"
        raise StepFailedError(f"step {self.step_id!r} failed ({cause})", code=code, response_body=self.raw)


class StepPaused(Event):
    """The server waits between two steps; the stream goes on by itself."""

    event_type: Literal["step_paused"] = Field(default="step_paused", alias="eventType")
    step_id: str | None = Field(default=None, alias="stepId")
    step_index: int = Field(default=0, alias="stepIndex")


class ToolCallsRequired(Event):
    """A step waits for tool results; `iterations_used` and `tool_call_messages` go back as they came."""

    event_type: Literal["step_paused_for_tool_calls"] = Field(default="step_paused_for_tool_calls", alias="eventType")
    run_id: str = Field(default="", alias="runId")
    execution_id: str = Field(default="", alias="executionId")
    step_id: str = Field(default="", alias="stepId")
    step_index: int = Field(default=0, alias="stepIndex")
    iterations_used: int = Field(default=0, alias="iterationsUsed")
    tool_call_messages: list[dict[str, Any]] = Field(default_factory=list, alias="toolCallMessages")
    tool_calls: list[dict[str, Any]] = Field(default_factory=list, alias="toolCalls")
    accumulated_outputs: dict[str, Any] = Field(default_factory=dict, alias="accumulatedOutputs")

    _answer: Callable[[Sequence[dict[str, Any]]], None] | None = PrivateAttr(default=None)

    async def resume(self, tool_results: Sequence[dict[str, Any]]) -> None:
        """Answer the calls, so that the stream this event came from goes on at its next iteration.

        Only events of an `AsyncFlow` stream can do that; others raise RuntimeError. Elsewhere, or later, continue with
        `events(checkpoint=…, tool_call_messages=[*event.tool_call_messages, *results], iterations_used=…)`.
        """
        if self._answer is None:
            raise RuntimeError(
                "this event does not belong to a stream of AsyncFlow; pass tool_handler=, or continue with "
                "events(checkpoint=..., tool_call_messages=..., iterations_used=...)"
            )
        self._answer(tool_results)

    def __getstate__(self) -> dict[Any, Any]:
        # A copy in another process has no stream to go on with.
        return {**super().__getstate__(), "__pydantic_private__": {"_answer": None}}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # The copy answers the same stream.
        return super().__deepcopy__({**(memo or {}), id(self._answer): self._answer})


class FlowCompleted(Event):
    """The flow ended; `result` is the last step's output."""

    event_type: Literal["flow_completed"] = Field(default="flow_completed", alias="eventType")
    run_id: str | None = Field(default=None, alias="runId")
    execution_id: str | None = Field(default=None, alias="executionId")
    result: Any = None
    summary: Any = None


StreamEvent = (
    RunStarted
    | StepStarted
    | StepInput
    | StepOutput
    | StepCompleted
    | StepFailed
    | StepPaused
    | ToolCallsRequired
    | FlowCompleted
)

MODELS: dict[str, type[Event]] = {
    "run_started": RunStarted,
    "flow_started": RunStarted,
    "step_started": StepStarted,
    "step_input": StepInput,
    "step_output": StepOutput,
    "step_completed": StepCompleted,
    "step_error": StepFailed,
    "step_paused": StepPaused,
    "step_paused_for_tool_calls": ToolCallsRequired,
    "flow_completed": FlowCompleted,
}


# Types the server may send that have no model (WIRE.md 4.2) are named too, for the parser's fast path.
event_names = (*MODELS, "step_progress", "loop_completed")
