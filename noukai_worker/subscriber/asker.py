"""Merges what all readers ask the store into one pipelined trip at a time.

A stampede (every browser comes back after a deploy) is then a few trips over one connection; and a reader that is cancelled
abandons a future, not a connection in the middle of an answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from redis.exceptions import RedisError

from ..errors import StoreUnavailable
from ..runs import AsyncRunStore
from ..runs.operations import Operation
from ..runs.store import unavailable

_AT_ONCE = 32


class Asker:
    """Carries out operations for coroutines; `run` is the task that does so."""

    def __init__(self, store: AsyncRunStore) -> None:
        self._store = store
        self._waiting: deque[tuple[Operation[Any], asyncio.Future[Any]]] = deque()
        self._asked = asyncio.Event()

    def ask(self, operation: Operation[Any]) -> asyncio.Future[Any]:
        """The answer to come, as Redis gives it, for the operation to decode; StoreUnavailable if there is none."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, answer))
        self._asked.set()
        return answer

    async def run(self) -> None:
        """Serve until cancelled."""
        task = asyncio.current_task()
        # Before Python 3.12 `asyncio.wait_for`, which redis-py sends with, may swallow a cancellation (cpython issue 86296).
        while task and not task.cancelling():
            await self._asked.wait()
            asked = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            if not self._waiting:
                self._asked.clear()
            asked = [(operation, answer) for operation, answer in asked if not answer.done()]
            if asked:
                await self._trip(asked)

    def fail(self, error: StoreUnavailable) -> None:
        """Let nobody wait any longer."""
        while self._waiting:
            _, answer = self._waiting.popleft()
            self._refuse(answer, error)

    async def _trip(self, asked: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._store.perform_all([operation for operation, _ in asked])
        except StoreUnavailable as error:
            for _, answer in asked:
                self._refuse(answer, error)
            return
        except BaseException:
            self._waiting.extendleft(reversed(asked))
            raise
        for (_, answer), given in zip(asked, answers, strict=True):
            if isinstance(given, StoreUnavailable):
                self._refuse(answer, given)
            elif isinstance(given, RedisError):
                self._refuse(answer, unavailable(self._store.address, given))
            elif not answer.done():
                answer.set_result(given)

    def _refuse(self, answer: asyncio.Future[Any], error: StoreUnavailable) -> None:
        if not answer.done():
            # One exception for each who waits: raising it writes to it.
            answer.set_exception(StoreUnavailable(*error.args))
