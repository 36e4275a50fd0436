"""This room holds what a caller asks for, and how it is written as a request body (WIRE.md 3.1, 4.1)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from noukai_sdk._json import encode

Messages = Sequence["ChatMessage | dict[str, Any]"]
ToolChoice = str | dict[str, Any]

_ROLES = frozenset({"user", "assistant", "tool"})
# The server refuses 1,000,000 bytes; the caller hears of it before.
_WARN_BYTES = 900_000
_WARN_TOOL_MESSAGES = 200


class ChatMessage(BaseModel):
    """One message of a chat history. Unknown members pass through; camelCase is sent."""

    model_config = ConfigDict(populate_by_name=True, extra="allow")

    role: str
    content: Any = None
    tool_calls: list[dict[str, Any]] | None = Field(default=None, alias="toolCalls")
    tool_call_id: str | None = Field(default=None, alias="toolCallId")
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ExecuteRequest:
    """The input of one `execute`; raises ValueError for what the server would refuse for sure (WIRE.md 2.4)."""

    message: str | None
    messages: list[dict[str, Any]] | None
    parameters: dict[str, Any]
    block_overrides: dict[str, dict[str, Any]] | None
    attachments: list[dict[str, Any]] | None
    tools: list[dict[str, Any]] | None
    tool_choice: ToolChoice | None
    trace: bool

    @classmethod
    def of(
        cls,
        message: str | None,
        *,
        messages: Messages | None,
        parameters: dict[str, Any] | None,
        block_overrides: dict[str, dict[str, Any]] | None,
        attachments: list[dict[str, Any]] | None,
        tools: list[dict[str, Any]] | None,
        tool_choice: ToolChoice | None,
        trace: bool,
    ) -> ExecuteRequest:
        if message is not None and messages:
            raise ValueError("pass either message or messages, not both")
        history = chat_history(messages) if messages else None
        return cls(message, history, parameters or {}, block_overrides, attachments, tools, tool_choice, trace)

    def fresh_body(self) -> dict[str, Any]:
        return self._body({"message": self.message, "messages": self.messages}, {}, 0, {})

    def resume_body(
        self,
        execution_id: str,
        paused_at_step: str,
        iterations_used: int,
        tool_call_messages: list[dict[str, Any]],
        outputs: dict[str, Any],
    ) -> dict[str, Any]:
        warn_of_many(tool_call_messages)
        resume = {"executionId": execution_id, "pausedAtStep": paused_at_step}
        return self._body({}, resume, iterations_used, outputs, tool_call_messages)

    def _body(
        self,
        texts: dict[str, Any],
        resume: dict[str, Any],
        iterations_used: int,
        outputs: dict[str, Any],
        tool_call_messages: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        return without_none(
            {
                **texts,
                "parameters": self.parameters,
                "blockOverrides": self.block_overrides,
                "attachments": self.attachments,
                "tools": self.tools,
                "toolChoice": self.tool_choice,
                **resume,
                "iterationsUsed": iterations_used,
                "toolCallMessages": tool_call_messages,
                "accumulatedOutputs": outputs,
                "trace": self.trace,
            }
        )


@dataclass(frozen=True, slots=True)
class Callback:
    """Whom the service tells of the end of a queued run, and of which ends; all if none are named (WIRE.md 5.1)."""

    url: str | None = None
    events: list[str] | None = None

    @classmethod
    def of(cls, url: str | None, events: Sequence[str] | None) -> Callback:
        """Raises ValueError for what the service would refuse for sure."""
        if url is not None and not str(url).startswith("https://"):
            raise ValueError(f"callback_url must be an https address, not {url!r}")
        if events is not None and (url is None or isinstance(events, str)):
            raise ValueError('callback_events must be a list such as ["flow.failed"], beside a callback_url')
        return cls(url, None if events is None else list(events))

    def members(self) -> dict[str, Any]:
        return without_none({"callbackUrl": self.url, "callbackEvents": self.events})


@dataclass(frozen=True, slots=True)
class StepRequest:
    """The input of one step stream."""

    message: str | None = None
    parameters: dict[str, Any] | None = None
    attachments: list[dict[str, Any]] | None = None
    input_overrides: dict[str, Any] | None = None
    block_overrides: dict[str, dict[str, Any]] | None = None
    run_remaining: bool = False
    tools: list[dict[str, Any]] | None = None
    tool_choice: ToolChoice | None = None
    trace: bool = False


def without_none(body: dict[str, Any]) -> dict[str, Any]:
    """The members of `body` that are not None; deeper ones are the caller's own."""
    return {key: value for key, value in body.items() if value is not None}


def chat_history(messages: Messages) -> list[dict[str, Any]]:
    """Messages as they are sent. Raises ValueError for a missing or foreign role; warns near the server's limit."""
    history = [_chat_message(message) for message in messages]
    if len(encode(history)) >= _WARN_BYTES:
        warnings.warn(
            "messages are close to or above 1 MB, which the server refuses; send fewer of them",
            UserWarning,
            stacklevel=5,
        )
    return history


def _chat_message(message: ChatMessage | dict[str, Any]) -> dict[str, Any]:
    if isinstance(message, ChatMessage):
        fields = message.model_dump(by_alias=True)
    elif isinstance(message, Mapping):
        names = {"tool_calls": "toolCalls", "tool_call_id": "toolCallId"}
        fields = {names.get(name, name): value for name, value in message.items()}
    else:
        raise ValueError(f"a message must be a ChatMessage or a dict, not {type(message).__name__}")
    role = fields.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise ValueError(f"role {role!r} is not allowed in messages; use one of user, assistant, tool")
    return without_none(fields)


def tool_messages(results: Any, source: str = "tool_handler") -> list[dict[str, Any]]:
    """Tool results as a list of message objects. Raises TypeError if they are anything else."""
    if isinstance(results, Sequence) and not isinstance(results, str | bytes):
        messages = [
            without_none(result.model_dump(by_alias=True)) if isinstance(result, ChatMessage) else result
            for result in results
        ]
        if all(isinstance(message, Mapping) for message in messages):
            return [dict(message) for message in messages]
    raise TypeError(
        f"{source} must give a list of results such as "
        '{"role": "tool", "toolCallId": call["id"], "content": "…"}, not ' + type(results).__name__
    )


def warn_of_many(tool_call_messages: list[dict[str, Any]]) -> None:
    if len(tool_call_messages) > _WARN_TOOL_MESSAGES:
        warnings.warn(
            f"{len(tool_call_messages)} toolCallMessages; the server refuses more than 1 MB", UserWarning, stacklevel=3
        )
