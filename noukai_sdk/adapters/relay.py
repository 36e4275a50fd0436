"""This room mounts a relay into an application: callers run one flow at one URL, and never see the key (WIRE.md 6.10).

What is let through, and what is refused, is the same in both frameworks; `docs/relay.md` tells it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from noukai_sdk._client import AsyncNoukai, Noukai
from noukai_sdk._drive import arun, run
from noukai_sdk._protocol.paths import Version
from noukai_sdk.adapters._gate import INVALID, TOO_LARGE, Answer, Gate, RelayBounds

if TYPE_CHECKING:
    from flask import Blueprint
    from flask import Response as FlaskResponse
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Message

__all__ = [
    "DEFAULT_MAX_BODY_BYTES",
    "DEFAULT_MAX_MESSAGES",
    "DEFAULT_RELAY_PATH",
    "RelayBounds",
    "flow_relay_blueprint",
    "mount_flow_relay",
]

DEFAULT_RELAY_PATH = "/agent/execute"
DEFAULT_MAX_BODY_BYTES = RelayBounds().max_body_bytes
DEFAULT_MAX_MESSAGES = RelayBounds().max_messages


def mount_flow_relay(
    app: Starlette,
    *,
    client: AsyncNoukai,
    org: str,
    project: str,
    slug: str,
    path: str = DEFAULT_RELAY_PATH,
    authorize: Callable[[Any], Awaitable[Any] | Any],
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
    max_messages: int = DEFAULT_MAX_MESSAGES,
    version: Version = "production",
    allow: Collection[str] = (),
    any_resume: bool = False,
) -> None:
    """Add `POST path` to a FastAPI or Starlette application: runs one flow for whoever `authorize` lets in.

    `authorize` takes the request, whose body it may read, and refuses by raising the framework's HTTPException or by
    returning False; it may be async or plain. `allow` names members that are not forwarded otherwise: "attachments",
    "blockOverrides" (which can replace prompt and model), "trace". `any_resume` takes resumes of runs that this relay
    did not pause, of whatever user. Raises ValueError and TypeError here, for what could only fail later.
    """
    from starlette.requests import Request
    from starlette.responses import Response

    _check(client, AsyncNoukai, authorize, "mount_flow_relay")
    if any(getattr(route, "path", None) == path and "POST" in _methods(route) for route in app.routes):
        raise ValueError(f"POST {path} is mounted already; pass another path=")
    gate = Gate(
        client._connection.config,
        org=org,
        project=project,
        slug=slug,
        version=version,
        path=path,
        bounds=RelayBounds(max_body_bytes, max_messages),
        allow=allow,
        any_resume=any_resume,
    )

    async def relay(request: Request) -> Response:
        answer, raw = await _read(request, gate)
        if answer is None:
            readable = Request(request.scope, _replayed(raw))
            answer = await arun(gate.relay(raw, request.headers.get, authorize, readable), client._connection)
        return Response(answer.body, answer.status, answer.headers, "application/json")

    app.add_route(path, relay, methods=["POST"])


def flow_relay_blueprint(
    *,
    client: Noukai,
    org: str,
    project: str,
    slug: str,
    path: str = DEFAULT_RELAY_PATH,
    authorize: Callable[[Any], Any],
    bounds: RelayBounds | None = None,
    version: Version = "production",
    allow: Collection[str] = (),
    any_resume: bool = False,
) -> Blueprint:
    """A Flask blueprint with `POST path`, to be registered once; arguments as for `mount_flow_relay`, `authorize` plain.

    `authorize` takes Flask's request and refuses by `abort(...)`, by raising, or by returning False.
    """
    import flask

    _check(client, Noukai, authorize, "flow_relay_blueprint")
    if inspect.iscoroutinefunction(authorize) or inspect.iscoroutinefunction(type(authorize).__call__):
        raise TypeError("authorize is async, but a Flask relay is not; pass a plain function")
    gate = Gate(
        client._connection.config,
        org=org,
        project=project,
        slug=slug,
        version=version,
        path=path,
        bounds=bounds or RelayBounds(),
        allow=allow,
        any_resume=any_resume,
    )
    digest = hashlib.sha256("\n".join((org, project, slug, path)).encode()).hexdigest()[:12]
    blueprint = flask.Blueprint(f"noukai_relay_{re.sub('[^A-Za-z0-9]', '_', slug)}_{digest}", __name__)

    @blueprint.post(path)
    def relay() -> FlaskResponse:
        answer, raw = _read_flask(flask.request, gate)
        if answer is None:
            answer = run(gate.relay(raw, flask.request.headers.get, authorize, flask.request), client._connection)
        return flask.Response(answer.body, answer.status, answer.headers, content_type="application/json")

    return blueprint


async def _read(request: Request, gate: Gate) -> tuple[Answer | None, bytes]:
    """The body, or the answer to one that is too large or breaks off."""
    from starlette.requests import ClientDisconnect

    if gate.is_too_large(request.headers.get("content-length")):
        return TOO_LARGE, b""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > gate.bounds.max_body_bytes:
                return TOO_LARGE, b""
    except ClientDisconnect:
        return INVALID, b""
    return None, bytes(body)


def _replayed(raw: bytes) -> Callable[[], Awaitable[Message]]:
    """An ASGI receive that gives a body which was read already once more."""
    messages: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


def _read_flask(request: Any, gate: Gate) -> tuple[Answer | None, bytes]:
    """The body, which `authorize` can read again, or the answer to one that is too large or breaks off."""
    from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

    cap, present = gate.bounds.max_body_bytes, request.max_content_length
    limit = cap if present is None else min(cap, present)
    # One byte more, as a body that comes without its length is cut at werkzeug's limit without a word.
    request.max_content_length = limit + 1
    try:
        raw = request.get_data(cache=True)
        return (None, raw) if len(raw) <= limit else (TOO_LARGE, b"")
    except RequestEntityTooLarge:
        return TOO_LARGE, b""
    except (HTTPException, OSError):
        return INVALID, b""


def _check(client: object, kind: type, authorize: object, function: str) -> None:
    if not isinstance(client, kind):
        raise TypeError(f"client of {function} must be {kind.__name__}, not {type(client).__name__}")
    if not callable(authorize):
        raise TypeError(f"authorize of {function} must be callable: it takes the request, and raises to refuse it")


def _methods(route: Any) -> Collection[str]:
    return getattr(route, "methods", None) or ()
