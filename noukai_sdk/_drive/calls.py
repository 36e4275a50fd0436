"""This room drives calls: one conversation, one result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from noukai_sdk._drive.bounds import Bounds
from noukai_sdk._drive.effects import (
    AsyncConnection,
    SyncConnection,
    acall,
    advance,
    aopen_response,
    call,
    open_response,
)
from noukai_sdk._protocol.effects import Call, Clock, Conversation, Reply, Send, Sleep

T = TypeVar("T")


def run(conversation: Conversation[T], connection: SyncConnection) -> T:
    """Drive a call to its result, with a client's connection."""

    def exchange(send: Send, bounds: Bounds) -> Reply:
        response = open_response(send, connection, bounds)
        return connection.reply(send, response, response.content)

    return converse(conversation, exchange)


async def arun(conversation: Conversation[T], connection: AsyncConnection) -> T:
    """Drive a call to its result, with a client's connection."""

    async def exchange(send: Send) -> Reply:
        response = await aopen_response(send, connection)
        return connection.reply(send, response, response.content)

    return await aconverse(conversation, exchange)


def converse(conversation: Conversation[T], exchange: Callable[[Send, Bounds], Reply]) -> T:
    """Drive a call to its result; `exchange` sends its requests, within bounds."""
    outcome: Any = None
    error: Exception | None = None
    try:
        with Bounds() as bounds:
            while True:
                effect = advance(conversation, outcome, error)
                outcome = error = None
                match effect:
                    case Call():
                        outcome = call(effect)
                    case Clock():
                        outcome = time.monotonic()
                    case Sleep() | Send():
                        try:
                            bounds.check(sent=False)
                            if isinstance(effect, Send):
                                outcome = exchange(effect, bounds)
                            else:
                                bounds.sleep(effect.seconds)
                        except Exception as failure:  # noqa: BLE001 -- the conversation decides, and raises the rest again
                            error = bounds.explain(failure)
                    case _:
                        raise TypeError(f"a call cannot do {effect}")
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        conversation.close()


async def aconverse(conversation: Conversation[T], exchange: Callable[[Send], Awaitable[Reply]]) -> T:
    """Drive a call to its result; `exchange` sends its requests."""
    outcome: Any = None
    error: Exception | None = None
    try:
        while True:
            effect = advance(conversation, outcome, error)
            outcome = error = None
            match effect:
                case Call():
                    outcome = await acall(effect)
                case Clock():
                    outcome = time.monotonic()
                case Sleep():
                    await asyncio.sleep(effect.seconds)
                case Send():
                    try:
                        outcome = await exchange(effect)
                    except Exception as failure:  # noqa: BLE001 -- the conversation decides, and raises the rest again
                        error = failure
                case _:
                    raise TypeError(f"a call cannot do {effect}")
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        conversation.close()
