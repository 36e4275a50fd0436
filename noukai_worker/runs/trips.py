"""Many calls of scripts in one pipelined trip to one server, for threads and for an event loop.

What redis-py's clients and pipelines do, by hand: they look at each connection before they use it, pack in Python, set a timer
for every answer, and pass through a dozen functions for a command.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from .mirror import Call

_PROGRESS = 16


Steps = Generator[list[bytes], list[Any], list[Any]]


def _steps(calls: Sequence[Call]) -> Steps:
    """Yields commands for one trip, is sent their answers, returns those to the calls. What Redis has forgotten is sent again."""
    answers = yield list(map(_packed, calls))
    forgotten = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
    if forgotten:
        loads = list(map(_load, {calls[n].script.text for n in forgotten}))
        told = yield loads + [_packed(calls[n]) for n in forgotten]
        for n, answer in zip(forgotten, told[len(loads) :], strict=True):
            answers[n] = answer
    return answers


class ThreadTrips:
    """For threads: at most `most` trips at once over connections of a pool, which are kept."""

    def __init__(self, pool: Any, most: int, answer_within: float) -> None:
        self._pool, self._most, self._answer_within = pool, most, answer_within
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._room = threading.Semaphore(self._most)
        self._free: list[Any] = []

    def make(self, calls: Sequence[Call]) -> list[Any]:
        """Make all calls; answers as Redis gives them, scripts' errors among them. Should none come, the error stands for each."""
        steps = _steps(calls)
        packed = next(steps)
        try:
            while True:
                packed = steps.send(self._trip(packed))
        except StopIteration as end:
            answers: list[Any] = end.value
            return answers
        except (RedisError, OSError) as error:
            return [error] * len(calls)

    def ping(self) -> None:
        """Raises redis-py's errors and OSError."""
        self._trip([hiredis.pack_command(("PING",))])

    def close(self) -> None:
        """Close the connections."""
        self._pool.disconnect()

    def _trip(self, packed: Sequence[bytes]) -> list[Any]:
        with self._connection() as connection:
            try:
                return _answers(connection, packed)
            except (RedisConnectionError, OSError):
                # It may have been closed while it was idle. All calls may be repeated; perhaps to another primary.
                connection.disconnect()
                connection.connect()
                return _answers(connection, packed)

    @contextmanager
    def _connection(self) -> Generator[Any, None, None]:
        if self._pid != os.getpid():  # a forked child: the connections are its parent's
            self._begin()
        room = self._room
        if not room.acquire(timeout=self._answer_within):
            raise RedisConnectionError("all connections were in use")
        try:
            try:
                connection = self._free.pop()
            except IndexError:
                connection = self._pool.get_connection()
            try:
                yield connection
            except BaseException:
                connection.disconnect()  # somebody else would read our answers
                self._pool.release(connection)
                raise
            self._free.append(connection)
        finally:
            room.release()


class Trips:
    """The same for an event loop; a trip may take `answer_within` seconds as long as nothing comes."""

    def __init__(self, pool: Any, most: int, answer_within: float) -> None:
        self._pool = pool
        self._room = asyncio.Semaphore(most)
        self._free: list[AbstractConnection] = []
        self._patience = _Patience(answer_within)

    async def make(self, calls: Sequence[Call]) -> list[Any]:
        """Make all calls; answers as Redis gives them, scripts' errors among them. Raises redis-py's errors and OSError."""
        steps = _steps(calls)
        packed = next(steps)
        try:
            while True:
                packed = steps.send(await self._trip(packed))
        except StopIteration as end:
            answers: list[Any] = end.value
            return answers

    async def _trip(self, packed: Sequence[bytes]) -> list[Any]:
        async with asyncio.timeout(None) as limit:
            self._patience.begin(limit)
            try:
                async with self._room:
                    return await self._over_a_connection(packed, limit)
            finally:
                self._patience.end(limit)

    async def _over_a_connection(self, packed: Sequence[bytes], limit: asyncio.Timeout) -> list[Any]:
        connection = self._free.pop() if self._free else await self._pool.get_connection()
        try:
            try:
                answers = await self._ask(connection, packed, limit)
            except (RedisConnectionError, OSError):
                # It may have been closed while it was idle. All calls may be repeated; perhaps to another primary.
                await connection.disconnect(nowait=True)
                await connection.connect()
                answers = await self._ask(connection, packed, limit)
        except BaseException:
            # Somebody else would read our answers.
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)
            raise
        self._free.append(connection)
        return answers

    async def _ask(self, connection: AbstractConnection, packed: Sequence[bytes], limit: asyncio.Timeout) -> list[Any]:
        await connection.send_packed_command(b"".join(packed))
        answers = []
        for _ in packed:
            answers.append(await _answer(connection))
            if len(answers) % _PROGRESS == 0:  # what moves on is not a server that hangs
                self._patience.begin(limit)
        return answers

    async def aclose(self) -> None:
        """Close the connections."""
        self._patience.close()
        await self._pool.disconnect()


class _Patience:
    """Ends what has heard nothing for `seconds`, with one timer for all.

    `asyncio.timeout()` sets one for each, and an event loop with thousands of cancelled timers stands still to clear them out.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._heard: dict[asyncio.Timeout, float] = {}
        """When each began or heard something, the longest ago first."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, limit: asyncio.Timeout) -> None:
        """Begin to wait, or begin anew."""
        loop = asyncio.get_running_loop()
        self._heard.pop(limit, None)
        self._heard[limit] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look, loop)

    def end(self, limit: asyncio.Timeout) -> None:
        """It has heard all."""
        self._heard.pop(limit, None)

    def close(self) -> None:
        """Watch no longer."""
        if self._timer:
            self._timer.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for limit, heard in list(self._heard.items()):
            if now < heard + self._seconds:
                self._timer = loop.call_at(heard + self._seconds, self._look, loop)
                return
            del self._heard[limit]
            limit.reschedule(now)


def _packed(call: Call) -> bytes:
    script, keys, args = call
    words: tuple[Any, ...] = ("EVALSHA", script.sha, len(keys), *keys, *args)
    packed: bytes = hiredis.pack_command(words)
    return packed


def _load(text: str) -> bytes:
    words: tuple[Any, ...] = ("SCRIPT", "LOAD", text)
    packed: bytes = hiredis.pack_command(words)
    return packed


def _answers(connection: Any, packed: Sequence[bytes]) -> list[Any]:
    connection.send_packed_command([b"".join(packed)])
    answers = []
    for _ in packed:
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
