"""Merges what all runs of a worker have to write into one pipelined trip to Redis after another.

A trip starts when the previous one has returned: an idle worker writes at once, a busy one batches by itself, without a timer.
Every writer of a run waits for its own answer, which gives backpressure towards the service and tells a fenced worker to stop.
While Redis is away the same trip is tried again: writes are safe to repeat (`operations.advance`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, TypeVar

from ..errors import StoreUnavailable
from ..runs import AsyncRunStore
from ..runs.operations import Operation

T = TypeVar("T")
logger = logging.getLogger(__name__)

_MOST = 512
"""Operations in one trip: bounds how long Redis is kept from everybody else."""

_LARGEST = 1 << 20
"""Bytes in one trip, unless a single operation is larger: it must get through a slow link in the time that Redis is given."""

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between tries while Redis is away; the last one is repeated."""


def _cut(waiting: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> int:
    """How many of those who wait go with the next trip: at least one."""
    size = 0
    for n, (operation, _) in enumerate(waiting[:_MOST]):
        size += sum(len(word) for word in operation.args if not isinstance(word, int))
        if size > _LARGEST and n:
            return n
    return min(len(waiting), _MOST)


class _Certain(asyncio.Future[Any]):
    """An answer that its waiter cannot cancel; a cancelled task gets its CancelledError together with the answer."""

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002 - asyncio's signature
        return False

    def give_up(self) -> None:
        """Cancel it all the same: the loop is closing, and the answer will never come."""
        super().cancel()


def _give_up(writes: Iterable[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
    """Cancelled with the loop: nobody may wait for ever."""
    for _, answer in writes:
        answer.give_up() if isinstance(answer, _Certain) else answer.cancel()


class Writer:
    """One per event loop. `perform` and `carry_out` may be called by any number of tasks."""

    def __init__(self, store: AsyncRunStore) -> None:
        self._store = store
        self._waiting: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        self._trips: asyncio.Task[None] | None = None
        self._postponed: set[asyncio.Task[None]] = set()

    async def perform(self, operation: Operation[T]) -> T:
        """Carry out `operation` with the next trip, and wait for its answer. Raises what the operation raises.

        A caller that is interrupted before the trip starts has written nothing; later, nobody knows.
        """
        return operation.decode(await self._submit(operation))

    async def carry_out(self, operation: Operation[T]) -> tuple[T, BaseException | None]:
        """The same, to the end, whatever interrupts the caller; the interruption comes back beside the answer.

        For writes whose fate the caller must know: a worker that loses count of its own writes fences itself out.
        """
        answer = self._submit(operation, _Certain(loop=asyncio.get_running_loop()))
        interruption: BaseException | None = None
        while True:
            try:
                await answer
            except GeneratorExit:  # the loop is gone
                raise
            except BaseException as error:  # noqa: BLE001 - cancelled, or past a time limit: it is handed on, only later
                if not answer.done():
                    interruption = error
                    continue
                if answer.exception() is not error:
                    interruption = error
            return operation.decode(answer.result()), interruption

    def _submit(self, operation: Operation[Any], answer: asyncio.Future[Any] | None = None) -> asyncio.Future[Any]:
        answer = answer or asyncio.get_running_loop().create_future()
        self._enqueue(operation, answer)
        return answer

    def _enqueue(self, operation: Operation[Any], answer: asyncio.Future[Any]) -> None:
        self._waiting.append((operation, answer))
        if self._trips is None:
            self._trips = asyncio.create_task(self._travel(), name="noukai-writer")

    async def _travel(self) -> None:
        batch: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        try:
            while self._waiting:
                end = _cut(self._waiting)
                batch, self._waiting = self._waiting[:end], self._waiting[end:]
                # A writer that was cancelled in the queue must not write behind its own back.
                batch = [(operation, answer) for operation, answer in batch if not answer.done()]
                if batch:
                    await self._trip(batch)
                    batch = []
        finally:
            self._trips = None
            _give_up((*batch, *self._waiting))

    async def _trip(self, batch: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._deliver([operation for operation, _ in batch])
        except Exception as error:  # noqa: BLE001 - something that cannot even be sent; each is tried alone, to spare the others
            if len(batch) == 1:
                answers = [error]
            else:
                for one in batch:
                    await self._trip([one])
                return
        postponed = []
        for (operation, waiting), answer in zip(batch, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, StoreUnavailable):
                postponed.append((operation, waiting))
            elif isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
        if postponed:
            task = asyncio.create_task(self._postpone(postponed), name="noukai-writer-postponed")
            self._postponed.add(task)
            task.add_done_callback(self._postponed.discard)

    async def _postpone(self, writes: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
        """A node of a cluster is away: only its runs wait for it."""
        try:
            await asyncio.sleep(_PAUSES[-1])
        except BaseException:
            _give_up(writes)
            raise
        for operation, answer in writes:
            self._enqueue(operation, answer)

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
