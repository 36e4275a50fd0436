"""Merges what all runs of a worker have to write into one pipelined trip to Redis after another.

A trip starts when the previous one has returned: an idle worker writes at once, a busy one batches by itself, without a timer.
Every writer of a run waits for its own answer, which gives backpressure towards the service and tells a fenced worker to stop.
While Redis is away the same trip is tried again: writes are safe to repeat (`operations.advance`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, TypeVar

from redis.exceptions import RedisError

from ..errors import StoreUnavailable
from ..runs import AsyncRunStore
from ..runs.operations import Operation

T = TypeVar("T")
logger = logging.getLogger(__name__)

_MOST = 512
"""Operations in one trip: bounds how long Redis is kept from everybody else."""

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between tries while Redis is away; the last one is repeated."""


class Writer:
    """One per event loop. `perform` may be called by any number of tasks."""

    def __init__(self, store: AsyncRunStore) -> None:
        self._store = store
        self._waiting: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        self._trips: asyncio.Task[None] | None = None

    async def perform(self, operation: Operation[T]) -> T:
        """Carry out `operation` with the next trip, and wait for its answer. Raises what the operation raises."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, answer))
        if self._trips is None:
            self._trips = asyncio.create_task(self._travel(), name="noukai-writer")
        return operation.decode(await answer)

    async def _travel(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                # A writer that was cancelled in the queue must not write behind its own back.
                batch = [(operation, answer) for operation, answer in batch if not answer.done()]
                answers = await self._deliver([operation for operation, _ in batch]) if batch else []
                for (_, waiting), answer in zip(batch, answers, strict=True):
                    if waiting.done():
                        continue
                    if isinstance(answer, RedisError):
                        waiting.set_exception(answer)
                    else:
                        waiting.set_result(answer)
        finally:
            self._trips = None
            if self._waiting:  # cancelled with the loop: nobody may wait for ever
                for _, waiting in self._waiting:
                    waiting.cancel()

    async def _deliver(self, operations: list[Operation[Any]]) -> list[Any]:
        tries = 0
        while True:
            try:
                return await self._store.perform_all(operations)
            except StoreUnavailable as error:
                if tries == 0:
                    logger.warning("%s; %d writes wait for it", error, len(operations))
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
