"""This room holds a flow as a caller sees it: what can be asked of it, and what comes back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from noukai_sdk._config import limit
from noukai_sdk._drive import Batches
from noukai_sdk._drive import run as drive
from noukai_sdk._drive.effects import SyncConnection
from noukai_sdk._jobs import Job
from noukai_sdk._models.checkpoint import Checkpoint
from noukai_sdk._models.events import StepCompleted, StreamEvent
from noukai_sdk._models.requests import Messages, ToolChoice
from noukai_sdk._models.results import ExecuteResult, PausedResult, ToolResults
from noukai_sdk._preparation import FlowName, Objects, Overrides, ToolHandler, refuse_async, without_answered
from noukai_sdk._protocol.dialogue import Dialogue
from noukai_sdk._protocol.execute import Execution
from noukai_sdk._protocol.frames import DEFAULT_MAX_FRAME_BYTES
from noukai_sdk._protocol.paths import Version
from noukai_sdk._runs import Run
from noukai_sdk._streams import EVERY_EVENT, STEP_EVENTS, EventStream


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
        attachments: Objects | None = None,
        tools: Objects | None = None,
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
        return self._resumable(execution, drive(execution.start(), self._connection))

    def resume(
        self,
        paused: PausedResult,
        *,
        tool_results: ToolResults,
        tool_handler: ToolHandler | None = None,
        max_tool_rounds: int | None = None,
        timeout: float | None = None,
    ) -> ExecuteResult | PausedResult:
        """Go on with a paused run of this flow, also one of another process, once (WIRE.md 3.1, 8.16).

        What the fresh call said (parameters, overrides, tools, version, ...) is repeated; further rounds go to
        `tool_handler`. A call that the server did not take leaves `paused` as it was. Raises ValueError for a result of
        another flow or results that are not JSON, TypeError for results that are no list, RuntimeError for a second
        resume or a result that `execute` did not return, and NoukaiError.
        """
        refuse_async(tool_handler)
        execution = self._resumption(
            paused, tool_handler=tool_handler, max_tool_rounds=max_tool_rounds, timeout=timeout
        )
        return self._resume(execution, paused, tool_results)

    def _resumable(self, execution: Execution, result: ExecuteResult | PausedResult) -> ExecuteResult | PausedResult:
        if isinstance(result, PausedResult):
            result.attach("Noukai", partial(self._resume, execution, result))
        return result

    def _resume(self, execution: Execution, paused: PausedResult, results: ToolResults) -> ExecuteResult | PausedResult:
        return self._resumable(execution, drive(execution.resume(paused, results), self._connection))

    def execute_async(
        self,
        message: str | None = None,
        *,
        parameters: dict[str, Any] | None = None,
        block_overrides: Overrides | None = None,
        trace: bool = False,
        version: Version = "production",
        timeout: float | None = None,
        session_id: str | None = None,
        callback_url: str | None = None,
        callback_events: Sequence[str] | None = None,
    ) -> Job:
        """Queue a run, and return at once; `wait()` for it, here or elsewhere (WIRE.md 5.1).

        At its end the service posts to `callback_url` (https), for the `callback_events` ("flow.completed",
        "flow.failed") or all. `timeout` is in seconds and bounds silence. Raises ValueError for input that cannot be
        sent, and NoukaiError.
        """
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
        accepted, at = drive(submission.run(), self._connection)
        return Job(self._connection, self._polls(accepted.execution_id, at), accepted, submission.session.id)

    def job(self, execution_id: str) -> Job:
        """The queued run of this id, to be polled or waited for again. Sends nothing. Raises ValueError."""
        return Job(self._connection, self._polls(execution_id))

    def run(self, execution_id: str) -> Run:
        """The run of this id, however it was started, to be asked for its traces. Sends nothing. Raises ValueError."""
        return Run(self._connection, self._traces(execution_id))

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
        tool_handler: ToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
        version: Version = "production",
        session_id: str | None = None,
        timeout: float | None = None,
        checkpoint: Checkpoint | None = None,
        tool_call_messages: Objects | None = None,
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

    def _stream(self, dialogue: Dialogue, timeout: float | None, wanted: Collection[str]) -> EventStream[Any]:
        batches = Batches(dialogue.run(), self._connection, limit(timeout))
        return EventStream(dialogue.machine, batches, without_answered(wanted, dialogue))
