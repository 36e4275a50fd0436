"""The bodies of ``/execute``, ``/step`` and ``/jobs``, and the checks that need nothing but the body (WIRE.md 2.4, 3.1, 4.1).

Absent, null and empty members mean the same; snake case is understood beside camel case; unknown members are
ignored.
"""

from __future__ import annotations

import json
import re
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from .answers import Refusal

#: The service's cap on ``messages`` and on ``toolCallMessages``, in bytes of JSON.
MESSAGES_LIMIT = 1_000_000
MAX_ATTACHMENTS = 10
CALLBACK_EVENTS = ("flow.completed", "flow.failed")
ROLES = ("user", "assistant", "tool")
IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif")

JsonObject = dict[str, JsonValue]


class Call(BaseModel):
    """What all of them have in common."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore")

    message: str = ""
    messages: list[JsonObject] = Field(default_factory=list)
    parameters: JsonObject = Field(default_factory=dict)
    attachments: list[JsonObject] = Field(default_factory=list)
    block_overrides: dict[str, JsonObject] = Field(default_factory=dict)
    tools: list[JsonValue] = Field(default_factory=list)
    tool_choice: JsonValue = None
    execution_id: str = ""
    iterations_used: int = 0
    tool_call_messages: list[JsonObject] = Field(default_factory=list)
    accumulated_outputs: JsonObject = Field(default_factory=dict)
    trace: bool = False

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, body: Any) -> Any:
        return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the call in ``body``; raise `Refusal` 400 for broken JSON, 422 for members of the wrong type."""
        try:
            members = json.loads(body or b"{}")
        except (ValueError, RecursionError) as exc:
            raise Refusal(400, "INVALID_JSON", f"The body is not JSON: {exc}.") from None
        if not isinstance(members, dict):
            raise Refusal(400, "INVALID_JSON", "The body must be a JSON object.")
        try:
            return cls.model_validate(members)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise Refusal(422, "VALIDATION_ERROR", f"{place}: {first['msg']}.") from None

    @property
    def input_text(self) -> str | None:
        """The run's input: ``message``, or the last of ``messages``."""
        if self.message or not self.messages:
            return self.message or None
        content = self.messages[-1].get("content")
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)

    def check(self) -> None:
        """Raise `Refusal` for contents that the service does not take."""
        _check_size("messages", self.messages)
        _check_size("toolCallMessages", self.tool_call_messages)
        for message in self.messages:
            if message.get("role") not in ROLES:
                raise Refusal(
                    400, "MESSAGES_ROLE_INVALID", f"Role {message.get('role')!r} is not one of {', '.join(ROLES)}."
                )
        if "attachments" in self.parameters:
            raise Refusal(
                400,
                "PARAMETER_NAME_RESERVED",
                "'attachments' is no parameter; send it as a member of the body beside 'parameters'.",
            )
        _check_attachments(self.attachments)

    def check_input(self) -> None:
        """Raise `Refusal` if a fresh call brings nothing to work on."""
        if self.input_text is None and not self.parameters:
            raise Refusal(400, "MISSING_MESSAGE", "Send 'message', 'messages' or at least one of 'parameters'.")


class ExecuteCall(Call):
    """The body of ``/execute``."""

    paused_at_step: str = ""

    @property
    def is_resume(self) -> bool:
        """Whether this brings tool results to a paused run."""
        return bool(self.execution_id or self.paused_at_step or self.tool_call_messages)


class JobCall(Call):
    """The body of ``/jobs``. The callback is checked and never called: nobody could reach a laptop's caller anyway."""

    callback_url: str = ""
    callback_events: list[str] = Field(default_factory=list)

    def check(self) -> None:
        """Raise `Refusal` for contents that the service does not take."""
        if self.tools:
            raise Refusal(400, "TOOLS_REQUIRE_SYNC_EXECUTE", "A job has nobody to ask; use execute or step for tools.")
        if self.execution_id or self.tool_call_messages:
            raise Refusal(400, "EXECUTION_ID_INVALID", "A job cannot be resumed; leave 'executionId' out.")
        super().check()
        url = urlsplit(self.callback_url)
        if self.callback_url and (url.scheme != "https" or not url.hostname):
            raise Refusal(400, "CALLBACK_INVALID", "'callbackUrl' must be an https address.")
        if strange := set(self.callback_events).difference(CALLBACK_EVENTS):
            raise Refusal(400, "CALLBACK_INVALID", f"{min(strange)!r} is not one of {', '.join(CALLBACK_EVENTS)}.")


class StepCall(Call):
    """The body of ``/step``; ``step_index`` is absolute in the flow."""

    step_index: int = 0
    input_overrides: JsonObject = Field(default_factory=dict)
    run_remaining: bool = False


def _check_size(name: str, messages: list[JsonObject]) -> None:
    if messages and (size := len(json.dumps(messages, ensure_ascii=False).encode(errors="replace"))) > MESSAGES_LIMIT:
        raise Refusal(413, "MESSAGES_TOO_LARGE", f"'{name}' has {size} bytes; at most {MESSAGES_LIMIT} are taken.")


def _check_attachments(attachments: list[JsonObject]) -> None:
    if len(attachments) > MAX_ATTACHMENTS:
        raise _attachment(f"{len(attachments)} attachments; at most {MAX_ATTACHMENTS} are taken")
    for attachment in attachments:
        url, name = attachment.get("url"), attachment.get("filename", "")
        if attachment.get("kind", "url") != "url":
            raise _attachment("'kind' must be 'url'")
        if not isinstance(url, str) or not url.startswith("https://") or len(url) > 2048:
            raise _attachment("'url' must be an https address of at most 2048 characters")
        if not isinstance(name, str) or len(name) > 255 or re.search(r"[/\\]|\.\.", name):
            raise _attachment("'filename' must be at most 255 characters without '/', '\\' or '..'")
        if attachment.get("mime_type") not in IMAGE_TYPES:
            raise Refusal(400, "MODEL_MIME_INCOMPATIBLE", f"'mime_type' must be one of {', '.join(IMAGE_TYPES)}.")


def _attachment(problem: str) -> Refusal:
    return Refusal(400, "ATTACHMENTS_INVALID", f"Attachments: {problem}.")
