"""This room puts every request to a FastAPI, Starlette or other ASGI application into a replay scope (WIRE.md 6.9).

    app.add_middleware(NoukaiTraceMiddleware, client=AsyncNoukai())

A request's calls are recorded as one session, whose id is in the response's `x-noukai-session`. With a session id in the
request's `X-Noukai-Replay`, and NOUKAI_REPLAY_ENABLED=1, they are played back. Streamed responses and background tasks are in
the scope. Recorded runs that no call asked for are logged, as the response is out by then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from noukai_sdk._client import AsyncNoukai
from noukai_sdk._errors import ReplayError
from noukai_sdk._replay import replay_scope
from noukai_sdk.adapters._answers import REPLAY_HEADER, SESSION_HEADER, answer, log_leftovers

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]


class NoukaiTraceMiddleware:
    """ASGI middleware. `client` reads the sessions to replay. Raises TypeError if it is no AsyncNoukai."""

    def __init__(self, app: ASGIApp, *, client: AsyncNoukai) -> None:
        if not isinstance(client, AsyncNoukai):
            raise TypeError(f"client must be an AsyncNoukai, not {type(client).__name__}")
        self.app = app
        self.client = client

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = finished = False
        try:
            async with replay_scope(replay_session_id=_session_to_replay(scope), transport=self.client) as trace:
                session = (trace.session_id or "").encode("latin-1")

                async def send_with_session(message: Message) -> None:
                    nonlocal started
                    if message["type"] == "http.response.start":
                        started = True
                        headers = [*message.get("headers", ()), (SESSION_HEADER.encode(), session)]
                        message = {**message, "headers": headers}
                    await send(message)

                await self.app(scope, receive, send_with_session)
                finished = True
        except ReplayError as error:
            if not started:
                await _respond(send, error)
            elif finished:
                log_leftovers(error)
            else:
                # A response that was cut off must look cut off.
                raise


def _session_to_replay(scope: Message) -> str | None:
    for name, value in scope["headers"]:
        if name.lower() == REPLAY_HEADER.encode():
            return str(value.decode("latin-1"))
    return None


async def _respond(send: Send, error: ReplayError) -> None:
    status, body = answer(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
