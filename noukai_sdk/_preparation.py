"""This room prepares calls: it checks arguments and makes the conversation; both kinds of flow share it."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

from noukai_sdk._config import checked_session_id, count, seconds
from noukai_sdk._models.checkpoint import Checkpoint
from noukai_sdk._models.requests import ExecuteRequest, StepRequest
from noukai_sdk._protocol.dialogue import Dialogue
from noukai_sdk._protocol.effects import Observe
from noukai_sdk._protocol.execute import DEFAULT_TOOL_ROUNDS, Execution, ToolFunction
from noukai_sdk._protocol.paths import Version, flow_path, step_path
from noukai_sdk._protocol.stream import DEFAULT_MAX_FRAME_BYTES, StepMachine
from noukai_sdk._transport import Connection


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
        request: ExecuteRequest,
        *,
        tool_handler: ToolFunction | None,
        max_tool_rounds: int | None,
        version: Version,
        timeout: float | None,
        session_id: str | None,
    ) -> Execution:
        return Execution(
            request,
            path=flow_path(self._name, version, "execute"),
            session_id=self._session(session_id),
            timeout=None if timeout is None else seconds(timeout, "timeout"),
            max_retries=self._connection.config.max_retries,
            tool_handler=tool_handler,
            max_tool_rounds=rounds(max_tool_rounds),
            observe=self._observe("execute", version),
        )

    def _dialogue(
        self,
        call: str,
        request: StepRequest,
        *,
        tool_handler: ToolFunction | None,
        max_tool_rounds: int | None,
        version: Version,
        session_id: str | None,
        checkpoint: Checkpoint | None,
        tool_call_messages: list[dict[str, Any]] | None = None,
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
                request,
                checkpoint=checkpoint,
                tool_call_messages=tool_call_messages,
                iterations_used=count(iterations_used, "iterations_used"),
                max_frame_bytes=max_frame_bytes,
            ),
            path=path,
            session_id=self._session(session_id),
            max_retries=self._connection.config.max_retries,
            tool_handler=tool_handler,
            max_tool_rounds=rounds(max_tool_rounds),
            observe=self._observe(call, version),
        )

    def _observe(self, call: str, version: Version) -> Observe | None:
        spans = self._connection.config.telemetry
        return None if spans is None else spans.observe(call, self._name, version)

    def _session(self, session_id: str | None) -> str | None:
        return self._connection.config.session_id if session_id is None else checked_session_id(session_id)


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
