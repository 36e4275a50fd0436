"""What an enqueuer asks for, validated where it is asked, before anything is written."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticSerializationError, from_json

from ..errors import InvalidRequest, PayloadTooLarge

Mode = Literal["stream", "execute", "job"]

_JOB_INPUT = ("parameters", "block_overrides", "version", "session_id", "timeout")
_INPUT = (*_JOB_INPUT, "attachments", "tools", "tool_choice")

_SLUG = r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?"
_CREDENTIAL = r"^[A-Za-z0-9_.-]{1,64}$"

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RunRequest(BaseModel):
    """The input of a run and how it is to be treated. Immutable; the same request gives the same `digest`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    flow: Annotated[str, Field(pattern=rf"^{_SLUG}/{_SLUG}/{_SLUG}$")]
    """`org/project/slug`: lower-case letters, digits and hyphens (WIRE 2)."""
    mode: Mode = "stream"
    message: str | None = None
    messages: list[dict[str, Any]] | None = None
    parameters: dict[str, Any] | None = None
    block_overrides: dict[str, dict[str, Any]] | None = None
    input_overrides: dict[str, Any] | None = None
    attachments: Annotated[list[dict[str, Any]], Field(max_length=10)] | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=64)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    version: str | int = "production"
    session_id: Annotated[str, Field(pattern=r"^[\x20-\x7e]{1,200}$")] | None = None
    """Sent as a header: printable ASCII."""
    credential: Annotated[str, Field(pattern=_CREDENTIAL)] = "default"
    """The name of an API key in the workers' settings; never the key itself (law 10)."""
    tenant: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Whose run it is: the tenants of a credential take turns. Printable characters."""
    metadata: dict[str, Any] | None = None
    """The enqueuer's own notes; shown with the run, never sent to the service."""
    timeout: Positive | None = None
    """`stream`: seconds that one attempt may take. `execute`: seconds that the service may be silent."""
    max_attempts: Annotated[int, Field(ge=1)] | None = None
    max_age: Positive | None = None
    """Seconds after which the run is not attempted again."""
    on_unknown_outcome: Literal["retry", "fail"] = "fail"
    """`execute` and `job`: what to do when not even the service can tell whether a paid call happened (law 6)."""

    @field_validator("version", mode="before")
    @classmethod
    def _number(cls, version: object) -> object:
        return int(version) if isinstance(version, str) and version.isascii() and version.isdecimal() else version

    @field_validator("tenant")
    @classmethod
    def _printable(cls, tenant: str | None) -> str | None:
        if tenant is not None and not tenant.isprintable():
            raise ValueError("not printable")
        return tenant

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.message is not None and self.messages:
            raise ValueError("give message or messages, not both")
        if self.messages:
            if self.mode == "stream":
                raise ValueError('the step protocol takes no messages: use message, or mode="execute"')
            for message in self.messages:
                if message.get("role") not in ("user", "assistant", "tool"):
                    raise ValueError("each of messages needs a role: user, assistant or tool")
        if self.input_overrides and self.mode != "stream":
            raise ValueError(f'{self.mode} takes no input_overrides: use mode="stream"')
        if self.mode == "job" and (self.messages or self.attachments or self.tools or self.tool_choice):
            raise ValueError('a job takes no messages, attachments or tools: use mode="execute"')
        _check_version(self.version, self.mode)
        if self.credential.startswith("nk_"):
            raise ValueError("credential is the name of a key in the workers' settings, not the key itself")
        return self

    @classmethod
    def build(cls, limit: int | None = None, **fields: Any) -> RunRequest:
        """A request from `fields`; None counts as absent. Raises InvalidRequest, or PayloadTooLarge over `limit` bytes."""
        try:
            request = cls.model_validate({name: value for name, value in fields.items() if value is not None})
            written = request.json_bytes()
            cls.model_validate_json(written)  # nested deeper than can be read back, for one
            request.digest()  # and numbers that JSON does not have
        except ValidationError as error:
            raise InvalidRequest(_one_line(error)) from None
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"the input cannot be written as JSON ({error}): pass plain JSON values") from None
        if limit is not None and len(written) > limit:
            raise PayloadTooLarge(len(written), limit)
        return request

    @classmethod
    def stored(cls, text: bytes | str) -> RunRequest:
        """A request as it was recorded, perhaps by a newer version: members unknown here are left out."""
        fields = from_json(text)
        return cls.model_validate({name: value for name, value in fields.items() if name in cls.model_fields})

    def json_bytes(self) -> bytes:
        """The request as compact JSON, absent members left out."""
        return self._json_bytes

    @cached_property
    def _json_bytes(self) -> bytes:
        return self.model_dump_json(exclude_none=True, exclude_defaults=True).encode()

    def digest(self) -> str:
        """The same for the same request, whoever makes it (SHA-256, hexadecimal)."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        # How long and how often it is tried is not what is asked for.
        fields = self.model_dump(exclude_none=True, exclude_defaults=True, exclude={"max_age", "max_attempts"})
        return hashlib.sha256(_CANONICAL.encode(fields).encode()).hexdigest()

    @property
    def alone_in_session(self) -> bool:
        """Whether the run has a session to itself, so that the service can be asked what became of its calls."""
        return self.session_id is None

    def flow_input(self) -> dict[str, Any]:
        """What the SDK's calls take of it, by the names of their arguments."""
        names = _JOB_INPUT if self.mode == "job" else _INPUT
        return {name: getattr(self, name) for name in names}


def _check_version(version: str | int, mode: str) -> None:
    number = version if isinstance(version, int) else None
    if isinstance(version, bool) or (number is None and version not in ("production", "draft")) or (number or 0) < 0:
        raise ValueError('version is "production", "draft" or a number from 0')
    if mode == "stream" and (version == "draft" or number == 0):
        raise ValueError('a draft cannot be streamed: publish it, or use mode="execute"')


_REMEDIES = {
    "flow": "write it as org/project/slug: lower-case letters, digits and hyphens, at most 50 characters each",
    "mode": 'use "stream", "execute" or "job"',
    "session_id": "use 1 to 200 printable ASCII characters",
    "version.str": 'use "production", "draft" or a number from 0',
    "version.int": 'use "production", "draft" or a number from 0',
    "tenant": "use 1 to 64 printable characters",
    "credential": "use the name of a key in the workers' settings: letters, digits, dot, hyphen, underscore",
}


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    remedy = _REMEDIES.get(place)
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{place}: no such argument; known are {', '.join(RunRequest.model_fields)}"
    if not place:
        return text
    return f"{place}: {remedy or text}"
