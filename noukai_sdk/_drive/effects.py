"""This room does single effects: it sends a request, or calls the user's function."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import httpx

from noukai_sdk._drive.deadline import Deadline
from noukai_sdk._failures import failed_request, is_failure
from noukai_sdk._http.senders import AsyncSender, Sender
from noukai_sdk._protocol.effects import Call, Effect, Send
from noukai_sdk._transport import Connection

T = TypeVar("T")
SyncConnection = Connection[Sender]
AsyncConnection = Connection[AsyncSender]


def advance(conversation: Generator[Effect, Any, T], outcome: Any, error: Exception | None) -> Effect:
    """The next effect, after the outcome or the error of the last."""
    return conversation.send(outcome) if error is None else conversation.throw(error)


def open_response(send: Send, connection: SyncConnection, deadline: Deadline | None = None) -> httpx.Response:
    """Send a request; a `deadline` cuts its timeouts to what is left, and watches its socket. Raises NoukaiError."""
    sender = connection.sender
    request = connection.request(send)
    watch: Callable[[Any], None] = _not_at_all
    if deadline is not None:
        watch = request.extensions["watch"] = deadline.watch
        timeouts = request.extensions["timeout"]
        timeouts.update({phase: deadline.at_most(seconds) for phase, seconds in timeouts.items()})
    connection.log_request(send)
    try:
        response = sender.send(request, stream=send.stream)
        watch(response.extensions.get("network_stream"))
        if send.stream and not response.is_success:
            with contextlib.closing(response):
                response.read()
                watch(None)
    except Exception as error:
        watch(None)
        if not is_failure(error):
            raise
        raise failed_request(error) from error
    return response


async def aopen_response(send: Send, connection: AsyncConnection) -> httpx.Response:
    """Send a request. Raises NoukaiError."""
    sender = connection.sender
    request = connection.request(send)
    connection.log_request(send)
    try:
        response = await sender.send(request, stream=send.stream)
        if send.stream and not response.is_success:
            async with contextlib.aclosing(response):
                await response.aread()
    except Exception as error:
        if not is_failure(error):
            raise
        raise failed_request(error) from error
    return response


def _not_at_all(_: Any) -> None:
    pass


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
