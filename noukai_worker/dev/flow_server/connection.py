"""The caller's connection: noticing that it is gone, and breaking it on purpose.

ASGI can do neither a reset nor a silent close, so `FlowProtocol` hands each request the transport it came on.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

T = TypeVar("T")

_TRANSPORT = "noukai.transport"


class CallerGone(Exception):
    """The caller hung up; there is nobody left to work for."""


class HangUp(Exception):
    """Close the connection as it stands, with what was written so far; by RST if ``reset``."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__(reset)
        self.reset = reset


if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as _HttpProtocol
else:
    _HttpProtocol = AutoHTTPProtocol


class FlowProtocol(_HttpProtocol):
    """uvicorn's HTTP/1.1 protocol, which also puts its transport into each request's scope."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wrap the application of this connection."""
        super().connection_made(cast("asyncio.Transport", transport))
        app = cast("ASGIApp", self.app)

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = cast("Any", with_transport)


def is_closing(scope: Scope) -> bool:
    """Tell whether the connection of a request is closed or about to be."""
    transport = _transport(scope)
    return transport is not None and transport.is_closing()


async def hang_up(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """Close the connection without finishing the answer; return when it is closed.

    Raises `ConnectionResetError` where there is no connection (an application driven in-process).
    """
    transport = _transport(scope)
    if transport is None:
        raise ConnectionResetError("the flow server was ordered to drop this connection")
    sock = transport.get_extra_info("socket")
    if reset and sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.close()
    await hung_up(receive)


async def hung_up(receive: Receive) -> None:
    """Return when the caller's connection has ended."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` to its end and return what it does, or cancel it and raise `CallerGone` as soon as the caller hangs up."""
    worker = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(hung_up(receive))
    try:
        await asyncio.wait((worker, watch), return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            return worker.result()
        raise CallerGone
    finally:
        worker.cancel()
        watch.cancel()
        await asyncio.gather(worker, watch, return_exceptions=True)


def _transport(scope: Scope) -> asyncio.Transport | None:
    return cast("asyncio.Transport | None", scope.get("extensions", {}).get(_TRANSPORT))
