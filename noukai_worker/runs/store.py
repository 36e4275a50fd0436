"""Performs operations on Redis: one at a time, blocking or awaiting; both stores are a connection and one method.

The time limits here are for a server that does not answer. Redis being away is an error for whoever asks (StoreUnavailable);
workers wait for it to come back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import hiredis
import redis
import redis.asyncio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import DataError, NoScriptError, RedisError, ResponseError

from ..errors import StoreUnavailable
from ..redis_url import RedisUrl, address
from . import connections, scripts
from .operations import Operation

T = TypeVar("T")

_ANSWER_WITHIN = 10.0
_CONNECTIONS = 16
_PROGRESS = 16


class RunStore:
    """Runs in Redis, for threads. Give it a URL, or a client of your own (bytes, not decoded)."""

    def __init__(self, url: str, *, answer_within: float = _ANSWER_WITHIN, client: redis.Redis | None = None) -> None:
        self.address = address(url)
        self.client = client or redis.Redis.from_pool(
            connections.pool(
                RedisUrl.parse(url), max_connections=_CONNECTIONS, timeout=answer_within, socket_timeout=answer_within
            )
        )

    def perform(self, operation: Operation[T]) -> T:
        """Carry out one operation. Raises StoreUnavailable, and what the operation raises."""
        script = scripts.load(operation.script)
        arguments = (*operation.keys, *operation.args)
        try:
            try:
                answer = self.client.evalsha(script.sha, len(operation.keys), *arguments)
            except NoScriptError:
                answer = self.client.eval(script.text, len(operation.keys), *arguments)
        except (RedisError, OSError) as error:
            if _is_bug(error):
                raise
            raise unavailable(self.address, error) from error
        return operation.decode(answer)

    def ping(self) -> None:
        """Raises StoreUnavailable if Redis does not answer."""
        try:
            self.client.ping()
        except (RedisError, OSError) as error:
            raise unavailable(self.address, error) from error

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


class AsyncRunStore:
    """Runs in Redis, for one event loop."""

    def __init__(
        self, url: str, *, answer_within: float = _ANSWER_WITHIN, client: redis.asyncio.Redis | None = None
    ) -> None:
        self.address = address(url)
        self._answer_within = answer_within
        self.client = client or redis.asyncio.Redis.from_pool(
            connections.async_pool(
                RedisUrl.parse(url),
                max_connections=_CONNECTIONS,
                timeout=answer_within,
                socket_timeout=None,  # a trip has a limit of its own
            )
        )

    async def perform(self, operation: Operation[T]) -> T:
        """Carry out one operation. Raises StoreUnavailable, and what the operation raises."""
        (answer,) = await self.perform_all((operation,))
        if isinstance(answer, RedisError):
            raise answer
        return operation.decode(answer)

    async def perform_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Carry out many operations in one trip; answers as Redis gives them, scripts' errors among them.

        Raises StoreUnavailable; then some operations may have been carried out.
        """
        try:
            answers = await self._trip(operations)
            forgotten = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if forgotten:
                for name in {operations[n].script for n in forgotten}:
                    async with asyncio.timeout(self._answer_within):
                        await self.client.script_load(scripts.load(name).text)
                for n, answer in zip(forgotten, await self._trip([operations[n] for n in forgotten]), strict=True):
                    answers[n] = answer
            for answer in answers:
                if isinstance(answer, RedisError) and not _is_bug(answer):
                    raise answer
        except (RedisError, OSError) as error:
            raise unavailable(self.address, error) from error
        return answers

    async def _trip(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        # redis-py's pipeline, done by hand: it packs in Python, and sets a timer for every answer.
        packed = b"".join(map(_packed, operations))
        pool = self.client.connection_pool
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(self._answer_within) as limit:
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]
            try:
                await connection.send_packed_command(packed)
                answers = []
                for _ in operations:
                    answers.append(await _answer(connection))
                    if len(answers) % _PROGRESS == 0:  # what moves on is not a server that hangs
                        limit.reschedule(clock() + self._answer_within)
                return answers
            except BaseException:
                # Somebody else would read our answers.
                await connection.disconnect(nowait=True)
                raise
            finally:
                await pool.release(connection)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()


@cache
def shared(url: str, answer_within: float = _ANSWER_WITHIN) -> RunStore:
    """The one store of this process for a URL and a time to wait (seconds). A forked child gets its own."""
    return RunStore(url, answer_within=answer_within)


os.register_at_fork(after_in_child=shared.cache_clear)


def _packed(operation: Operation[Any]) -> bytes:
    sha = scripts.load(operation.script).sha
    words: tuple[Any, ...] = ("EVALSHA", sha, len(operation.keys), *operation.keys, *operation.args)
    packed: bytes = hiredis.pack_command(words)
    return packed


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


_NO_SERVICE = (
    "OOM",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "UNKILLABLE",
)


def _is_bug(error: Exception) -> bool:
    """Whether the operation itself is at fault, rather than Redis its service: then trying again does not help."""
    # redis-py has classes for most refusals of service, and strips the "ERR" of a script's own error.
    return isinstance(error, DataError) or (type(error) is ResponseError and not str(error).startswith(_NO_SERVICE))


def unavailable(shown: str, error: Exception) -> StoreUnavailable:
    """The error of a Redis that does not serve us, as one line."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return StoreUnavailable(shown, reason.rstrip("."))
