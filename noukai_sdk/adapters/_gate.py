"""This room decides what a relay lets through, without any framework: bytes and headers in, an answer out.

    in this order                                          else
    the body fits into the bound                           413 BODY_TOO_LARGE
    it is a JSON object; none at all stands for {}         400 INVALID_JSON
    few enough messages, and toolCallMessages              413 TOO_MANY_MESSAGES
    `authorize` does not say no                            403 FORBIDDEN
    it asks only for what the relay was mounted to give    400 MEMBER_NOT_ALLOWED
    `messages` are the user's, the model's, or tools'      400 MESSAGES_ROLE_INVALID
    a resume answers a pause that this relay handed out    403 RESUME_NOT_ALLOWED
    the service can be reached                             502 UPSTREAM_UNAVAILABLE
    what it says is JSON                                   its status, UPSTREAM_NON_JSON

The first three and the last two are WIRE.md 6.10; the others answer WIRE.md 8.19. Refused is better than stripped: a
refused request costs nothing and says why, a stripped one runs, and costs, something else than was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from noukai_sdk._config import Config, count
from noukai_sdk._errors import APIConnectionError
from noukai_sdk._json import compact, decode, encode
from noukai_sdk._protocol.effects import Call, Conversation, Reply, Send
from noukai_sdk._protocol.paths import Version, flow_name, flow_path
from noukai_sdk.adapters._seal import Broken, Seal

OPTIONAL_MEMBERS = frozenset({"attachments", "blockOverrides", "trace"})
_MEMBERS = frozenset({"message", "messages", "parameters", "tools", "toolChoice"})
_RESUME_MEMBERS = frozenset({"executionId", "pausedAtStep", "iterationsUsed", "toolCallMessages", "accumulatedOutputs"})
_ROLES = ("user", "assistant", "tool")
_TRACE_HEADERS = ("traceparent", "tracestate")
_ANSWER_HEADERS = ("retry-after", "x-request-id")


@dataclass(frozen=True, slots=True)
class RelayBounds:
    """How much a relay takes: bytes of the body, and entries in each of `messages` and `toolCallMessages`."""

    max_body_bytes: int = 262_144
    max_messages: int = 40

    def __post_init__(self) -> None:
        count(self.max_body_bytes, "max_body_bytes")
        count(self.max_messages, "max_messages")


@dataclass(frozen=True, slots=True)
class Answer:
    """What to tell the caller: JSON."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def _plain(status: int, detail: str) -> Answer:
    # The shape that the published relay's callers know.
    return Answer(status, encode({"detail": detail}))


def _refusal(status: int, code: str, message: str) -> _Refused:
    return _Refused(Answer(status, encode({"detail": {"code": code, "message": message}})))


TOO_LARGE = _plain(413, "BODY_TOO_LARGE")
INVALID = _plain(400, "INVALID_JSON")


class Gate:
    """The gate in front of one flow. Raises ValueError for a name, version, path or member that cannot be."""

    def __init__(
        self,
        config: Config,
        *,
        org: str,
        project: str,
        slug: str,
        version: Version,
        path: str,
        bounds: RelayBounds,
        allow: Collection[str],
        any_resume: bool,
    ) -> None:
        _check_path(path)
        unknown = sorted(set(allow) - OPTIONAL_MEMBERS)
        if unknown:
            raise ValueError(f"allow takes a list of {', '.join(sorted(OPTIONAL_MEMBERS))}, not {allow!r}")
        self.bounds = bounds
        self._upstream = flow_path(flow_name(slug, org, project, None), version, "execute")
        self._members = _MEMBERS | _RESUME_MEMBERS | set(allow)
        self._seal = None if any_resume else Seal(config.api_key, self._upstream)

    def is_too_large(self, content_length: str | None) -> bool:
        """Whether a body that is announced so need not be read."""
        return (content_length or "").isdecimal() and int(content_length or 0) > self.bounds.max_body_bytes

    def relay(
        self, raw: bytes, header: Callable[[str], str | None], authorize: Callable[[Any], Any], request: Any
    ) -> Conversation[Answer]:
        """The conversation from a body to an answer; `authorize` is called with the framework's `request`.

        `header` gives a header of the request by its lower-case name.

        What `authorize` raises is the framework's to answer, and never comes here. Raises TypeError if it returns a response.
        """
        try:
            body = self._parsed(raw)
            verdict = yield Call(authorize, request)
            _check_verdict(verdict)
            body = self._checked(body)
        except _Refused as refused:
            return refused.answer
        trace = tuple((name, value) for name in _TRACE_HEADERS if (value := header(name)) and _fits(value))
        try:
            reply = yield Send("POST", self._upstream, body, headers=trace)
        except APIConnectionError:
            return _plain(502, "UPSTREAM_UNAVAILABLE")
        except ValueError:
            return INVALID  # 1e999 can be read, as infinity, and not be written
        return self._answer(reply)

    def _parsed(self, raw: bytes) -> dict[str, Any]:
        if len(raw) > self.bounds.max_body_bytes:
            raise _Refused(TOO_LARGE)
        try:
            body = decode(raw) if raw else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise _Refused(INVALID)
        for member in ("messages", "toolCallMessages"):
            entries = body.get(member)
            if isinstance(entries, list) and len(entries) > self.bounds.max_messages:
                raise _Refused(_plain(413, "TOO_MANY_MESSAGES"))
        return body

    def _checked(self, body: dict[str, Any]) -> dict[str, Any]:
        """What of the body is forwarded."""
        # A member that asks for nothing (null, false, 0, empty) may as well be missing.
        foreign = sorted(member for member, value in body.items() if value and member not in self._members)
        if foreign:
            raise _refusal(400, "MEMBER_NOT_ALLOWED", f"this relay does not forward {', '.join(foreign)}")
        body = {member: value for member, value in body.items() if member in self._members}
        _check_roles(body.get("messages"), _ROLES, "messages")
        if self._seal is None or not any(body.get(member) for member in _RESUME_MEMBERS):
            return body
        try:
            body, results = self._seal.opened(body)
        except Broken as broken:
            raise _refusal(403, "RESUME_NOT_ALLOWED", str(broken)) from broken
        _check_roles(results, ("tool", None), "tool results")
        return body

    def _answer(self, reply: Reply) -> Answer:
        try:
            body = decode(reply.body or b"")
        except ValueError:
            body = None
        # Neither a redirect nor "no content" is for a caller who does not know where the relay sends.
        status = reply.status if reply.status in {200, 201, 202} or reply.status >= 400 else 502
        headers = {name: reply.headers[name] for name in _ANSWER_HEADERS if name in reply.headers}
        if not isinstance(body, dict | list) or status != reply.status:
            return Answer(status, encode({"detail": "UPSTREAM_NON_JSON"}), headers)
        if self._seal is not None and isinstance(body, dict) and body.get("status") == "tool_calls_required":
            return Answer(status, compact(self._seal.closed(body)), headers)
        return Answer(status, reply.body or b"", headers)


def _check_verdict(verdict: Any) -> None:
    # Whoever returns a response, as a view would, means no; taken for a true value, it would let everybody in.
    if isinstance(verdict, tuple) or hasattr(verdict, "status_code"):
        raise TypeError("authorize returned a response; to refuse, raise the framework's exception, or return False")
    if verdict is not None and not verdict:
        raise _refusal(403, "FORBIDDEN", "this caller may not use the relay")


def _check_roles(messages: Any, roles: Collection[str | None], what: str) -> None:
    if messages is None:
        return
    if not isinstance(messages, list) or not all(
        isinstance(message, dict) and message.get("role") in roles for message in messages
    ):
        names = ", ".join(sorted(role for role in roles if role))
        raise _refusal(400, "MESSAGES_ROLE_INVALID", f"{what} must be a list of objects of the roles {names}")


def _check_path(path: object) -> None:
    parts = path.split("/") if isinstance(path, str) else []
    if (
        len(parts) < 2
        or parts[0]
        or not all(part.strip() == part and part not in {"", ".", ".."} for part in parts[1:])
    ):
        raise ValueError(f"path {path!r} cannot be mounted; use an absolute one, such as /agent/execute")
    if any(character in "?#\\" or not character.isprintable() for character in str(path)):
        raise ValueError(f"path {path!r} holds characters that no path has; use one such as /agent/execute")


def _fits(value: str) -> bool:
    return value.isascii() and value.isprintable()
