"""This room does single effects: it sends a request, or calls the user's function."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import httpx

from noukai_sdk._drive.bounds import Bounds
from noukai_sdk._failures import failed_request, is_failure
from noukai_sdk._http.lines import line_of
from noukai_sdk._http.senders import AsyncSender, Sender
from noukai_sdk._protocol.effects import Call, Effect, Send
from noukai_sdk._transport import Connection

T = TypeVar("T")
SyncConnection = Connection[Sender]
AsyncConnection = Connection[AsyncSender]


def advance(conversation: Generator[Effect, Any, T], outcome: Any, error: Exception | None) -> Effect:
    """The next effect, after the outcome or the error of the last."""
    return conversation.send(outcome) if error is None else conversation.throw(error)


def open_response(send: Send, connection: SyncConnection, bounds: Bounds) -> httpx.Response:
    """Send a request, within `bounds`; the response is read, unless it is a stream that has begun. Raises NoukaiError."""
    sender = connection.sender
    request = connection.request(send)
    connection.log_request(send)
    return respond(request, sender.send, bounds, stream=send.stream)


def respond(
    request: httpx.Request, send: Callable[[httpx.Request], httpx.Response], bounds: Bounds, *, stream: bool
) -> httpx.Response:
    """The response to a request, which `send` brings to the end of its head. Raises NoukaiError."""
    bounds.watch_over(request)
    try:
        response = send(request)
        line = line_of(response.extensions.get("network_stream"))
        bounds(line)
        if not (stream and response.is_success):
            with contextlib.closing(response):
                response.read()
            bounds(None)
            if line is not None and line.was_shut:
                # Without a length, a body that was cut off looks whole.
                raise httpx.ReadError("given up while the answer was read")
    except Exception as error:
        bounds(None)
        if not is_failure(error):
            bounds.sent = True
            raise
        failure = failed_request(error)
        bounds.sent |= failure.sent
        raise failure from error
    bounds.sent = True
    return response


async def aopen_response(send: Send, connection: AsyncConnection) -> httpx.Response:
    """Send a request; the response is read, unless it is a stream that has begun. Raises NoukaiError."""
    sender = connection.sender
    request = connection.request(send)
    connection.log_request(send)
    try:
        response = await sender.send(request)
        if not (send.stream and response.is_success):
            async with contextlib.aclosing(response):
                await response.aread()
    except Exception as error:
        if not is_failure(error):
            raise
        raise failed_request(error) from error
    return response


def call(effect: Call) -> Any:
    """What the user's function returns. Raises TypeError if it turns out to be async."""
    value = effect.function(effect.argument)
    if inspect.isawaitable(value):
        if hasattr(value, "close"):
            value.close()
        raise TypeError("this function is async, but the client is sync; pass a plain one, or use AsyncNoukai")
    return value


async def acall(effect: Call) -> Any:
    """What the user's function returns, awaited if need be."""
    value = effect.function(effect.argument)
    return await value if inspect.isawaitable(value) else value
