"""This room holds a flow as a caller sees it: what can be asked of it, and what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

from noukai_sdk._config import seconds
from noukai_sdk._drive import AsyncBatches, Batches, arun, run
from noukai_sdk._drive.effects import AsyncConnection, SyncConnection
from noukai_sdk._models.checkpoint import Checkpoint
from noukai_sdk._models.events import StepCompleted, StreamEvent
from noukai_sdk._models.requests import ExecuteRequest, Messages, StepRequest, ToolChoice
from noukai_sdk._models.results import ExecuteResult, PausedResult
from noukai_sdk._preparation import FlowName, refuse_async, without_answered
from noukai_sdk._protocol.dialogue import Dialogue
from noukai_sdk._protocol.execute import Execution
from noukai_sdk._protocol.paths import Version
from noukai_sdk._protocol.stream import DEFAULT_MAX_FRAME_BYTES
from noukai_sdk._streams import EVERY_EVENT, STEP_EVENTS, AsyncEventStream, EventStream

ToolHandler = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
AsyncToolHandler = Callable[[list[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]
Overrides = dict[str, dict[str, Any]]


class Flow(FlowName):
    """A flow, called synchronously. Made by `Noukai.flow()`."""

    _connection: SyncConnection

    def execute(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        attachments: list[dict[str, Any]] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: ToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        timeout: float | None = None,
        session_id: str | None = None,
    ) -> ExecuteResult | PausedResult:
        """Run the flow to its end, or to the first tool calls that no `tool_handler` answers (WIRE.md 3, 6.5).

        `tool_handler` takes the list of calls and returns the list of results, at most `max_tool_rounds` (10) times.
        `timeout` is in seconds and bounds silence, not the whole. Raises ValueError for input that cannot be sent,
        and NoukaiError.
        """
        refuse_async(tool_handler)
        request = ExecuteRequest.of(
            message,
            messages=messages,
            parameters=parameters,
            block_overrides=block_overrides,
            attachments=attachments,
            tools=tools,
            tool_choice=tool_choice,
            trace=trace,
        )
        execution = self._execution(
            request,
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            version=version,
            timeout=timeout,
            session_id=session_id,
        )
        return self._resumable(execution, run(execution.start(), self._connection))

    def _resumable(self, execution: Execution, result: ExecuteResult | PausedResult) -> ExecuteResult | PausedResult:
        if isinstance(result, PausedResult):
            result.attach("Noukai", partial(self._resume, execution, result))
        return result

    def _resume(self, execution: Execution, paused: PausedResult, results: Any) -> ExecuteResult | PausedResult:
        return self._resumable(execution, run(execution.resume(paused, results), self._connection))

    def steps(
        self,
        message: str | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        input_overrides: dict[str, Any] | None = None,
        attachments: list[dict[str, Any]] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: ToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        session_id: str | None = None,
        timeout: float | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> EventStream[StepCompleted]:
        """Run the flow step by step; yields each StepCompleted (also StepFailed, and ToolCallsRequired unanswered).

        `timeout` is a deadline for the whole, in seconds. Otherwise as `events`.
        """
        refuse_async(tool_handler)
        dialogue = self._dialogue(
            "steps",
            StepRequest(
                message, parameters, attachments, input_overrides, block_overrides, False, tools, tool_choice, trace
            ),
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            version=version,
            session_id=session_id,
            checkpoint=checkpoint,
        )
        return self._stream(dialogue, timeout, STEP_EVENTS)

    def events(
        self,
        message: str | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        input_overrides: dict[str, Any] | None = None,
        attachments: list[dict[str, Any]] | None = None,
        run_remaining: bool = False,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: ToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        session_id: str | None = None,
        timeout: float | None = None,
        checkpoint: Checkpoint | None = None,
        tool_call_messages: list[dict[str, Any]] | None = None,
        iterations_used: int = 0,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> EventStream[StreamEvent]:
        """Run the flow and yield every event (WIRE.md 4).

        `run_remaining` asks for all steps in one request instead of one each. `timeout` is a deadline for the whole, in
        seconds; silence is bounded by the client's. `checkpoint` continues a run where it stopped; with
        `tool_call_messages` (the pause's, plus results) and `iterations_used` (the pause's) after a tool pause.
        No request is sent before the first item is asked for. Raises ValueError here; NoukaiError, with
        `.checkpoint`, while iterating.
        """
        refuse_async(tool_handler)
        dialogue = self._dialogue(
            "events",
            StepRequest(
                message,
                parameters,
                attachments,
                input_overrides,
                block_overrides,
                run_remaining,
                tools,
                tool_choice,
                trace,
            ),
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            version=version,
            session_id=session_id,
            checkpoint=checkpoint,
            tool_call_messages=tool_call_messages,
            iterations_used=iterations_used,
            max_frame_bytes=max_frame_bytes,
        )
        return self._stream(dialogue, timeout, EVERY_EVENT)

    def _stream(self, dialogue: Dialogue, timeout: float | None, wanted: Collection[str]) -> EventStream[Any]:
        limit = None if timeout is None else seconds(timeout, "timeout")
        batches = Batches(dialogue.run(), self._connection, limit)
        return EventStream(dialogue.machine, batches, without_answered(wanted, dialogue))


class AsyncFlow(FlowName):
    """A flow, called asynchronously. Made by `AsyncNoukai.flow()`."""

    _connection: AsyncConnection

    async def execute(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        attachments: list[dict[str, Any]] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: ToolHandler | AsyncToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        timeout: float | None = None,  # noqa: ASYNC109 -- the published SDK's name, and no deadline
        session_id: str | None = None,
    ) -> ExecuteResult | PausedResult:
        """As `Flow.execute`. `tool_handler` may be async; a plain one blocks the event loop while it runs."""
        request = ExecuteRequest.of(
            message,
            messages=messages,
            parameters=parameters,
            block_overrides=block_overrides,
            attachments=attachments,
            tools=tools,
            tool_choice=tool_choice,
            trace=trace,
        )
        execution = self._execution(
            request,
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            version=version,
            timeout=timeout,
            session_id=session_id,
        )
        return self._resumable(execution, await arun(execution.start(), self._connection))

    def _resumable(self, execution: Execution, result: ExecuteResult | PausedResult) -> ExecuteResult | PausedResult:
        if isinstance(result, PausedResult):
            result.attach("AsyncNoukai", partial(self._resume, execution, result))
        return result

    async def _resume(self, execution: Execution, paused: PausedResult, results: Any) -> ExecuteResult | PausedResult:
        return self._resumable(execution, await arun(execution.resume(paused, results), self._connection))

    def steps(
        self,
        message: str | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        input_overrides: dict[str, Any] | None = None,
        attachments: list[dict[str, Any]] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: ToolHandler | AsyncToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        session_id: str | None = None,
        timeout: float | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> AsyncEventStream[StepCompleted]:
        """As `Flow.steps`, to be iterated with `async for`."""
        dialogue = self._dialogue(
            "steps",
            StepRequest(
                message, parameters, attachments, input_overrides, block_overrides, False, tools, tool_choice, trace
            ),
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            version=version,
            session_id=session_id,
            checkpoint=checkpoint,
        )
        return self._stream(dialogue, timeout, STEP_EVENTS)

    def events(
        self,
        message: str | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        input_overrides: dict[str, Any] | None = None,
        attachments: list[dict[str, Any]] | None = None,
        run_remaining: bool = False,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: ToolHandler | AsyncToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        session_id: str | None = None,
        timeout: float | None = None,
        checkpoint: Checkpoint | None = None,
        tool_call_messages: list[dict[str, Any]] | None = None,
        iterations_used: int = 0,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> AsyncEventStream[StreamEvent]:
        """As `Flow.events`, to be iterated with `async for`. Without a handler, `await event.resume(...)` answers tools."""
        dialogue = self._dialogue(
            "events",
            StepRequest(
                message,
                parameters,
                attachments,
                input_overrides,
                block_overrides,
                run_remaining,
                tools,
                tool_choice,
                trace,
            ),
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            version=version,
            session_id=session_id,
            checkpoint=checkpoint,
            tool_call_messages=tool_call_messages,
            iterations_used=iterations_used,
            max_frame_bytes=max_frame_bytes,
        )
        return self._stream(dialogue, timeout, EVERY_EVENT)

    def _stream(self, dialogue: Dialogue, timeout: float | None, wanted: Collection[str]) -> AsyncEventStream[Any]:
        limit = None if timeout is None else seconds(timeout, "timeout")
        batches = AsyncBatches(dialogue.run(), self._connection, limit)
        return AsyncEventStream(dialogue.machine, batches, without_answered(wanted, dialogue))
