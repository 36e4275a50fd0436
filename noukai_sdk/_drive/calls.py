"""This room drives calls: one conversation, one result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import Any, TypeVar

from noukai_sdk._drive.effects import (
    AsyncConnection,
    SyncConnection,
    acall,
    advance,
    aopen_response,
    call,
    open_response,
)
from noukai_sdk._errors import NoukaiError
from noukai_sdk._protocol.effects import Call, Clock, Effect, Send, Sleep

T = TypeVar("T")


def run(conversation: Generator[Effect, Any, T], connection: SyncConnection) -> T:
    """Drive a call to its result."""
    outcome: Any = None
    error: NoukaiError | None = None
    try:
        while True:
            effect = advance(conversation, outcome, error)
            outcome = error = None
            match effect:
                case Call():
                    outcome = call(effect)
                case Clock():
                    outcome = time.monotonic()
                case Sleep():
                    time.sleep(effect.seconds)
                case Send():
                    try:
                        response = open_response(effect, connection)
                        outcome = connection.reply(effect, response, response.content)
                    except NoukaiError as failure:
                        error = failure
                case _:
                    raise TypeError(f"a call cannot do {effect}")
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def arun(conversation: Generator[Effect, Any, T], connection: AsyncConnection) -> T:
    """Drive a call to its result."""
    outcome: Any = None
    error: NoukaiError | None = None
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
                        response = await aopen_response(effect, connection)
                        outcome = connection.reply(effect, response, response.content)
                    except NoukaiError as failure:
                        error = failure
                case _:
                    raise TypeError(f"a call cannot do {effect}")
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
