from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from noukai_worker.subscriber import Hub
from noukai_worker.web.stream import EventStream, Streaming


def answered(app: Callable[[Scope, Receive, Send], Awaitable[None]], order: list[str]) -> tuple[Scope, list[Any]]:
    """What an application sends for one request, and the scope that it leaves behind."""
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        order.append(message["type"])
        sent.append(message)

    asyncio.run(Streaming(app)(scope, receive, send))
    return scope, sent


def test_a_stream_begins_when_the_application_is_done_and_holds_nothing_of_it() -> None:
    order: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["router"] = object()
        hub = Hub("redis://127.0.0.1:1/0")
        hub.stop()  # so that the stream is refused, without a Redis
        await EventStream(hub, "r", 0)(scope, receive, send)
        order.append("done")

    scope, sent = answered(app, order)
    assert order == ["done", "http.response.start", "http.response.body"]
    assert sent[0]["status"] == 503
    assert set(scope) == {"type", "method", "path", "headers"}


def test_every_other_answer_is_the_applications_own() -> None:
    _, sent = answered(PlainTextResponse("fine"), [])
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"fine")
