"""How the server says no, and the request id that every answer carries (WIRE.md 2.1, 2.3)."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "X-Request-ID"

log = logging.getLogger(__name__)


class Refusal(Exception):
    """An answer in the service's error shape: HTTP ``status``, upper-case ``code`` and a ``message`` with the remedy."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, code, message, headers)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


class JsonAnswer(Response):
    """A compact JSON body; text outside ASCII goes as UTF-8."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return ``content`` as JSON bytes."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")


def refusal_answer(refusal: Refusal) -> JsonAnswer:
    """Return the HTTP answer for ``refusal``."""
    detail = {"detail": {"code": refusal.code, "message": refusal.message}}
    return JsonAnswer(detail, status_code=refusal.status, headers=refusal.headers)


async def on_refusal(_request: Request, exc: Exception) -> Response:
    """Starlette's hook for `Refusal`."""
    assert isinstance(exc, Refusal)
    return refusal_answer(exc)


async def on_http_exception(request: Request, exc: Exception) -> Response:
    """Starlette's hook for unknown paths and wrong methods."""
    assert isinstance(exc, HTTPException)
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(exc.status_code, "HTTP_ERROR")
    message = f"{request.method} {request.url.path} is not served here: {exc.detail}"
    return refusal_answer(Refusal(exc.status_code, code, message, exc.headers))


async def on_crash(request: Request, exc: Exception) -> Response:
    """Starlette's hook for a mistake of ours: say so in the error shape and keep the traceback for the log."""
    log.error("%s %s crashed", request.method, request.url.path, exc_info=exc)
    # Starlette answers a crash outside of all middleware, so the id is put on here.
    headers = {REQUEST_ID: _request_id()}
    message = "The flow server has a bug; its log has the traceback."
    return refusal_answer(Refusal(500, "INTERNAL_ERROR", message, headers))


class RequestIds:
    """ASGI middleware that puts a fresh ``X-Request-ID`` on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; only the head of the answer is touched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = _request_id()
            await send(message)

        await self._app(scope, receive, send_with_id)


def _request_id() -> str:
    return f"req_{uuid.uuid4().hex}"
