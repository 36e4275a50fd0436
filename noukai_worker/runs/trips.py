"""Many calls of scripts in one pipelined trip to one server, for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, ResponseError

from .mirror import Call

_PROGRESS = 16


class Trips:
    """Trips over the connections of a pool; each may take `answer_within` seconds as long as nothing comes."""

    def __init__(self, pool: Any, answer_within: float) -> None:
        self._pool = pool
        self._answer_within = answer_within

    async def make(self, calls: Sequence[Call]) -> list[Any]:
        """Make all calls; answers as Redis gives them, scripts' errors among them. Raises redis-py's errors and OSError."""
        answers = await self._trip(list(map(_packed, calls)))
        forgotten = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if forgotten:
            texts = {calls[n].script.text for n in forgotten}
            packed = list(map(_load, texts))
            again = [_packed(calls[n]) for n in forgotten]
            told = (await self._trip(packed + again))[len(packed) :]
            for n, answer in zip(forgotten, told, strict=True):
                answers[n] = answer
        return answers

    async def _trip(self, packed: Sequence[bytes]) -> list[Any]:
        # redis-py's pipeline, done by hand: it packs in Python, and sets a timer for every answer.
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(self._answer_within) as limit:
            connection = await self._pool.get_connection()
            try:
                await connection.send_packed_command(b"".join(packed))
                answers = []
                for _ in packed:
                    answers.append(await _answer(connection))
                    if len(answers) % _PROGRESS == 0:  # what moves on is not a server that hangs
                        limit.reschedule(clock() + self._answer_within)
                return answers
            except BaseException:
                # Somebody else would read our answers.
                await connection.disconnect(nowait=True)
                raise
            finally:
                await self._pool.release(connection)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.disconnect()


def _packed(call: Call) -> bytes:
    script, keys, args = call
    words: tuple[Any, ...] = ("EVALSHA", script.sha, len(keys), *keys, *args)
    packed: bytes = hiredis.pack_command(words)
    return packed


def _load(text: str) -> bytes:
    words: tuple[Any, ...] = ("SCRIPT", "LOAD", text)
    packed: bytes = hiredis.pack_command(words)
    return packed


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
