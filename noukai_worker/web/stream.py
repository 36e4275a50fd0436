"""A run as a response of server-sent events: attached before the first byte, bounded in memory, over when the client is gone."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import NoukaiWorkerError
from ..subscriber import Hub, Subscription, sse
from ..subscriber.alarm import Alarm
from . import refusals

logger = logging.getLogger(__name__)

KEEP_ALIVE_EVERY = 15.0
"""Seconds of silence after which a comment is sent."""
STALLED_AFTER = 30.0
"""Seconds that a client may take nothing before it is dropped; what it has got is its position to come back to."""

_LATER = "noukai_worker.streams"
_framer = sse.Framer()
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Streaming:
    """Around an application: serves its streams when it is done, so that nothing of it is held, or passed through, meanwhile."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        given = tuple(scope)
        later: list[EventStream] = []
        scope[_LATER] = later
        await self._app(scope, receive, send)
        if later:
            for name in scope.keys() - given:
                del scope[name]
            await later.pop().serve(scope, receive, send)


class EventStream(Response):
    """The entries of one run after a position, to the terminal one. Mistakes are answered instead, before anything is sent."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, run_id: str, after: int) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._hub = hub
        self._subscription = Subscription(run_id, after=after, hub=hub)
        self._gone = self._stalled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client, now or when the application is done with the request (`Streaming`)."""
        later = scope.get(_LATER)
        if later is None:
            await self.serve(scope, receive, send)
        else:
            later.append(self)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client now."""
        async with self._subscription as subscription:
            try:
                entries = await subscription.open()
                piece = sse.frames(entries)
            except NoukaiWorkerError as error:
                await refusals.response(error)(scope, receive, send)
                return
            if subscription.ended and not entries:
                await Response(status_code=204, headers=_HEADERS)(scope, receive, send)
                return
            gone = asyncio.create_task(self._until_gone(receive))
            task = asyncio.current_task()
            assert task
            stall = Alarm(task.get_loop(), partial(self._drop, task))
            try:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                # Clients of a server that restarts do not come back all at once.
                await self._relay(send, stall, sse.retry(random.randint(1_000, 3_000)) + piece)  # noqa: S311
            except asyncio.CancelledError:
                if not self._stalled or task.uncancel():
                    raise
                logger.info("a reader of run %s takes nothing: dropped", subscription.run_id)
            except OSError:
                pass  # The client is gone: servers that say so raise this (ASGI 2.4).
            finally:
                gone.cancel()
                stall.close()

    async def _relay(self, send: Send, stall: Alarm, piece: bytes) -> None:
        subscription = self._subscription
        while True:
            stall.set(STALLED_AFTER)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            stall.clear()
            if subscription.ended or self._gone:
                break
            try:
                piece = _framer.frames(await subscription.page(KEEP_ALIVE_EVERY)) or sse.KEEP_ALIVE
            except NoukaiWorkerError as error:
                if (
                    not self._hub.stopping
                ):  # A server that stops just ends its streams: browsers come back with their position.
                    await send({"type": "http.response.body", "body": _said(error), "more_body": True})
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _drop(self, task: asyncio.Task[Any]) -> None:
        self._stalled = True
        task.cancel()

    async def _until_gone(self, receive: Receive) -> None:
        with suppress(OSError):
            while (await receive())["type"] != "http.disconnect":
                pass
        self._gone = True
        self._subscription.close()


def _said(error: NoukaiWorkerError) -> bytes:
    return sse.frame(json.dumps(refusals.detail(error)).encode(), event="stream.error")
