"""This room holds a flow as an async caller sees it: what can be asked of it, and what comes back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from noukai_sdk._config import limit
from noukai_sdk._drive import AsyncBatches
from noukai_sdk._drive import arun as drive
from noukai_sdk._drive.effects import AsyncConnection
from noukai_sdk._jobs import AsyncJob
from noukai_sdk._models.checkpoint import Checkpoint
from noukai_sdk._models.events import StepCompleted, StreamEvent
from noukai_sdk._models.requests import Messages, ToolChoice
from noukai_sdk._models.results import ExecuteResult, PausedResult, ToolResults
from noukai_sdk._preparation import AnyToolHandler, FlowName, Objects, Overrides, without_answered
from noukai_sdk._protocol.dialogue import Dialogue
from noukai_sdk._protocol.execute import Execution
from noukai_sdk._protocol.frames import DEFAULT_MAX_FRAME_BYTES
from noukai_sdk._protocol.paths import Version
from noukai_sdk._runs import AsyncRun
from noukai_sdk._streams import EVERY_EVENT, STEP_EVENTS, AsyncEventStream


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
        attachments: Objects | None = None,
        tools: Objects | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: AnyToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        timeout: float | None = None,  # noqa: ASYNC109 -- the published SDK's name, and no deadline
        session_id: str | None = None,
    ) -> ExecuteResult | PausedResult:
        """As `Flow.execute`. `tool_handler` may be async; a plain one blocks the event loop while it runs."""
        execution = self._execution(
            message,
            messages=messages,
            parameters=parameters,
            block_overrides=block_overrides,
            attachments=attachments,
            tools=tools,
            tool_choice=tool_choice,
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            trace=trace,
            version=version,
            timeout=timeout,
            session_id=session_id,
        )
        return self._resumable(execution, await drive(execution.start(), self._connection))

    async def resume(
        self,
        paused: PausedResult,
        *,
        tool_results: ToolResults,
        tool_handler: AnyToolHandler | None = None,
        max_tool_rounds: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 -- the published SDK's name, and no deadline
    ) -> ExecuteResult | PausedResult:
        """As `Flow.resume`."""
        execution = self._resumption(
            paused, tool_handler=tool_handler, max_tool_rounds=max_tool_rounds, timeout=timeout
        )
        return await self._resume(execution, paused, tool_results)

    def _resumable(self, execution: Execution, result: ExecuteResult | PausedResult) -> ExecuteResult | PausedResult:
        if isinstance(result, PausedResult):
            result.attach("AsyncNoukai", partial(self._resume, execution, result))
        return result

    async def _resume(
        self, execution: Execution, paused: PausedResult, results: ToolResults
    ) -> ExecuteResult | PausedResult:
        return self._resumable(execution, await drive(execution.resume(paused, results), self._connection))

    async def execute_async(
        self,
        message: str | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        trace: bool = False,
        version: Version = "production",
        timeout: float | None = None,  # noqa: ASYNC109 -- the published SDK's name, and no deadline
        session_id: str | None = None,
        callback_url: str | None = None,
        callback_events: Sequence[str] | None = None,
    ) -> AsyncJob:
        """As `Flow.execute_async`."""
        submission = self._submission(
            message,
            parameters=parameters,
            block_overrides=block_overrides,
            trace=trace,
            version=version,
            timeout=timeout,
            session_id=session_id,
            callback_url=callback_url,
            callback_events=callback_events,
        )
        accepted, at = await drive(submission.run(), self._connection)
        return AsyncJob(self._connection, self._polls(accepted.execution_id, at), accepted, submission.session.id)

    def job(self, execution_id: str) -> AsyncJob:
        """The queued run of this id, to be polled or waited for again. Sends nothing. Raises ValueError."""
        return AsyncJob(self._connection, self._polls(execution_id))

    def run(self, execution_id: str) -> AsyncRun:
        """The run of this id, however it was started, to be asked for its traces. Sends nothing. Raises ValueError."""
        return AsyncRun(self._connection, self._traces(execution_id))

    def steps(
        self,
        message: str | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        input_overrides: dict[str, Any] | None = None,
        attachments: Objects | None = None,
        tools: Objects | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: AnyToolHandler | None = None,
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
            message,
            parameters=parameters,
            block_overrides=block_overrides,
            input_overrides=input_overrides,
            attachments=attachments,
            run_remaining=False,
            tools=tools,
            tool_choice=tool_choice,
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            trace=trace,
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
        attachments: Objects | None = None,
        run_remaining: bool = False,
        tools: Objects | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: AnyToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        session_id: str | None = None,
        timeout: float | None = None,
        checkpoint: Checkpoint | None = None,
        tool_call_messages: Objects | None = None,
        iterations_used: int = 0,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> AsyncEventStream[StreamEvent]:
        """As `Flow.events`, to be iterated with `async for`. Without a handler, `await event.resume(...)` answers tools."""
        dialogue = self._dialogue(
            "events",
            message,
            parameters=parameters,
            block_overrides=block_overrides,
            input_overrides=input_overrides,
            attachments=attachments,
            run_remaining=run_remaining,
            tools=tools,
            tool_choice=tool_choice,
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            trace=trace,
            version=version,
            session_id=session_id,
            checkpoint=checkpoint,
            tool_call_messages=tool_call_messages,
            iterations_used=iterations_used,
            max_frame_bytes=max_frame_bytes,
        )
        return self._stream(dialogue, timeout, EVERY_EVENT)

    def _stream(self, dialogue: Dialogue, timeout: float | None, wanted: Collection[str]) -> AsyncEventStream[Any]:
        batches = AsyncBatches(dialogue.run(), self._connection, limit(timeout))
        return AsyncEventStream(dialogue.machine, batches, without_answered(wanted, dialogue))
