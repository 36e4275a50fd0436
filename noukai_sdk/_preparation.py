"""This room prepares calls: it checks arguments and makes the conversation; both kinds of flow share it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from noukai_sdk._config import checked_session_id, count, limit
from noukai_sdk._models.checkpoint import Checkpoint
from noukai_sdk._models.requests import Callback, ExecuteRequest, Messages, StepRequest, ToolChoice
from noukai_sdk._models.results import PausedResult
from noukai_sdk._protocol.dialogue import Dialogue
from noukai_sdk._protocol.effects import Observe
from noukai_sdk._protocol.execute import DEFAULT_TOOL_ROUNDS, Execution, ToolFunction
from noukai_sdk._protocol.frames import DEFAULT_MAX_FRAME_BYTES
from noukai_sdk._protocol.jobs import Polls, Submission
from noukai_sdk._protocol.paths import Version, flow_path, job_path, run_path, step_path
from noukai_sdk._protocol.session import CallSession
from noukai_sdk._protocol.stream import StepMachine
from noukai_sdk._protocol.traces import Traces
from noukai_sdk._transport import Connection

ToolHandler = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
AsyncToolHandler = Callable[[list[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]
AnyToolHandler = ToolHandler | AsyncToolHandler
Objects = list[dict[str, Any]]
Overrides = dict[str, dict[str, Any]]


class FlowName:
    """The name of a flow, and how calls to it are prepared."""

    def __init__(self, connection: Connection[Any], name: tuple[str, ...]) -> None:
        self._connection = connection
        self._name = name

    @property
    def org(self) -> str:
        return self._name[0]

    @property
    def project(self) -> str:
        return self._name[1]

    @property
    def slug(self) -> str:
        return self._name[2]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'/'.join(self._name)!r})"

    def _execution(
        self,
        message: str | None,
        *,
        messages: Messages | None,
        parameters: dict[str, Any] | None,
        block_overrides: Overrides | None,
        attachments: Objects | None,
        tools: Objects | None,
        tool_choice: ToolChoice | None,
        tool_handler: ToolFunction | None,
        max_tool_rounds: int | None,
        trace: bool,
        version: Version,
        timeout: float | None,
        session_id: str | None,
    ) -> Execution:
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
        return self._runnable(
            request,
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            version=version,
            timeout=timeout,
            session=self._session(session_id),
        )

    def _resumption(
        self,
        paused: PausedResult,
        *,
        tool_handler: ToolFunction | None,
        max_tool_rounds: int | None,
        timeout: float | None,
    ) -> Execution:
        origin, own = paused.known_origin(), "/".join(self._name)
        if origin.flow != own:
            remedy = f"use client.flow({origin.flow!r}).resume" if origin.flow else "resume it where it was made"
            raise ValueError(f"this result belongs to {origin.flow or 'no flow of a client'}, not to {own}; {remedy}")
        return self._runnable(
            origin.request(),
            tool_handler=tool_handler,
            max_tool_rounds=max_tool_rounds,
            version=origin.version,
            timeout=timeout,
            session=CallSession(self._name, origin.session_id, None),
        )

    def _runnable(
        self,
        request: ExecuteRequest,
        *,
        tool_handler: ToolFunction | None,
        max_tool_rounds: int | None,
        version: Version,
        timeout: float | None,
        session: CallSession,
    ) -> Execution:
        return Execution(
            request,
            path=flow_path(self._name, version, "execute"),
            session=session,
            timeout=limit(timeout),
            max_retries=self._connection.config.max_retries,
            tool_handler=tool_handler,
            max_tool_rounds=rounds(max_tool_rounds),
            observe=self._observe("execute", version),
            flow="/".join(self._name),
            version=version,
        )

    def _submission(
        self,
        message: str | None,
        *,
        parameters: dict[str, Any] | None,
        block_overrides: Overrides | None,
        trace: bool,
        version: Version,
        timeout: float | None,
        session_id: str | None,
        callback_url: str | None,
        callback_events: Sequence[str] | None,
    ) -> Submission:
        request = ExecuteRequest.of(
            message,
            messages=None,
            parameters=parameters,
            block_overrides=block_overrides,
            attachments=None,
            tools=None,
            tool_choice=None,
            trace=trace,
        )
        return Submission(
            request,
            Callback.of(callback_url, callback_events),
            path=flow_path(self._name, version, "jobs"),
            session=self._session(session_id),
            timeout=limit(timeout),
            max_retries=self._connection.config.max_retries,
            observe=self._observe("execute_async", version),
        )

    def _polls(self, execution_id: str, submitted_at: float | None = None) -> Polls:
        config = self._connection.config
        path = job_path(self._name, execution_id)
        return Polls(execution_id, path, config.timeout, config.max_retries, submitted_at)

    def _traces(self, execution_id: str) -> Traces:
        return Traces(execution_id, run_path(self._name, execution_id), self._connection.config.max_retries)

    def _dialogue(
        self,
        call: str,
        message: str | None,
        *,
        parameters: dict[str, Any] | None,
        block_overrides: Overrides | None,
        input_overrides: dict[str, Any] | None,
        attachments: Objects | None,
        run_remaining: bool,
        tools: Objects | None,
        tool_choice: ToolChoice | None,
        trace: bool,
        tool_handler: ToolFunction | None,
        max_tool_rounds: int | None,
        version: Version,
        session_id: str | None,
        checkpoint: Checkpoint | None,
        tool_call_messages: Objects | None = None,
        iterations_used: int = 0,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> Dialogue:
        path = step_path(self._name, version)
        if checkpoint is not None and checkpoint.execution_id is None and checkpoint.step_index > 0:
            raise ValueError("a checkpoint past step 0 needs an execution_id; start the run anew without a checkpoint")
        if tool_call_messages is not None and (checkpoint is None or checkpoint.execution_id is None):
            raise ValueError("tool_call_messages answer a paused run; pass its checkpoint with them")
        return Dialogue(
            StepMachine(
                StepRequest(
                    message=message,
                    parameters=parameters,
                    attachments=attachments,
                    input_overrides=input_overrides,
                    block_overrides=block_overrides,
                    run_remaining=run_remaining,
                    tools=tools,
                    tool_choice=tool_choice,
                    trace=trace,
                ),
                checkpoint=checkpoint,
                tool_call_messages=tool_call_messages,
                iterations_used=count(iterations_used, "iterations_used"),
                max_frame_bytes=max_frame_bytes,
            ),
            path=path,
            session=self._session(session_id),
            max_retries=self._connection.config.max_retries,
            tool_handler=tool_handler,
            max_tool_rounds=rounds(max_tool_rounds),
            observe=self._observe(call, version),
        )

    def _observe(self, call: str, version: Version) -> Observe | None:
        spans = self._connection.config.telemetry
        return None if spans is None else spans.observe(call, self._name, version)

    def _session(self, session_id: str | None) -> CallSession:
        return CallSession(self._name, checked_session_id(session_id), self._connection.config.session_id)


def rounds(max_tool_rounds: int | None) -> int:
    return DEFAULT_TOOL_ROUNDS if max_tool_rounds is None else count(max_tool_rounds, "max_tool_rounds")


def without_answered(wanted: Collection[str], dialogue: Dialogue) -> Collection[str]:
    """Tool calls that the handler answers are not the iterating caller's business."""
    return (
        wanted if dialogue.tool_handler is None else {name for name in wanted if name != "step_paused_for_tool_calls"}
    )


def refuse_async(tool_handler: Any) -> None:
    if inspect.iscoroutinefunction(tool_handler) or inspect.iscoroutinefunction(type(tool_handler).__call__):
        raise TypeError("tool_handler is async, but this client is sync; pass a plain function, or use AsyncNoukai")
