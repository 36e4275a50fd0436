"""The runs that a streaming worker holds: each one's lease and position, kept alive while nothing happens."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from itertools import takewhile
from typing import Any, TypeAlias, TypeVar

from ..runs import Lease, State, outcome
from ..runs.answers import Fenced
from .writer import Writer

T = TypeVar("T")
logger = logging.getLogger(__name__)

Order: TypeAlias = "OrderedDict[HeldRun, None]"


class LeaseLost(Exception):
    """The run is no longer ours: nothing was written, and nothing will be. `state` is what it is now, None if it is gone."""

    def __init__(self, run_id: str, state: State | None) -> None:
        super().__init__(run_id, state)
        self.run_id, self.state = run_id, state


class HeldRun:
    """The right to write to one run. Writes go one after another, and to their end; each extends the lease by `extend` seconds.

    With each write it becomes the last of `order`, if it is there.
    """

    def __init__(self, writer: Writer, lease: Lease, *, extend: float, pickup: float, order: Order) -> None:
        self.lease = lease
        self.ended: outcome.Outcome | None = None
        """How the attempt ended, once that is written."""
        self.farewell: Callable[[], object] | None = None
        """Tells the service that its caller is going, while what it has said can still be read."""
        self._writer = writer
        self._position = lease.position
        self._extend = extend
        self._pickup = pickup
        self._order = order
        self._turn = asyncio.Lock()
        self._clock = asyncio.get_running_loop().time
        self._touched = self._clock()
        self._lost: LeaseLost | None = None
        self._work: asyncio.Task[Any] | None = None

    async def append(self, progress: outcome.Progress) -> None:
        """Write `progress`; an empty one extends the lease. Raises LeaseLost.

        An interruption is raised after the write: a step that has finished is known to have finished.
        """
        interruption = await self._take_turn()
        try:
            operation = outcome.keep(self.lease, self._position, progress, extend=self._extend)
            interruption = await self._write(operation) or interruption
        finally:
            self._turn.release()
        if interruption:
            raise interruption

    async def close(self, end: outcome.Outcome, progress: outcome.Progress = outcome.NOTHING) -> outcome.Outcome:
        """Write `progress` and end the attempt, in one act; how it has ended, which a second call does not change.

        Raises LeaseLost; an interruption comes too late and is dropped.
        """
        await self._take_turn()
        try:
            if self.ended:
                return self.ended
            end = outcome.readable(end)
            await self._write(outcome.close(self.lease, self._position, end, progress=progress, pickup=self._pickup))
        finally:
            self._turn.release()
        self.ended = end
        return end

    async def confirm(self) -> None:
        """See that the lease is still ours, if it may have run out since the last write. Raises LeaseLost."""
        if self._clock() - self._touched > self._extend / 2:
            await self.append(outcome.NOTHING)

    async def guard(self, work: Coroutine[Any, Any, T], last_words: Callable[[], float] = float) -> T:
        """The result of `work`, which is stopped when the lease is lost (LeaseLost) or the caller is interrupted.

        `last_words` tells for how many seconds at most it may go on after an interruption; for none, unless given. It
        hears of that only by `farewell`.
        """
        task: asyncio.Task[T] = asyncio.create_task(work)
        self._work = task
        try:
            return await asyncio.shield(task)
        except BaseException as error:
            interruption: BaseException = error
            patience = last_words()
            if patience and self.farewell:
                self.farewell()
            while not task.done():
                if not patience:
                    task.cancel()
                try:
                    await asyncio.wait([task], timeout=patience or None)
                except GeneratorExit:
                    raise
                except BaseException as another:  # noqa: BLE001
                    interruption = another
                patience = 0.0
            failure = None if task.cancelled() else task.exception()
            if self._lost:
                raise self._lost from None
            if not task.cancelled() and failure is None:
                return task.result()  # it ended at the very moment of the interruption
            if interruption is error:
                raise
            raise interruption from None

    def old(self, now: float) -> bool:
        """Whether, at that moment of the loop's clock, a third of the lease is used up."""
        return now - self._touched >= self._extend / 3

    @property
    def busy(self) -> bool:
        """Whether it is being written to, or has ended: then its lease needs no renewal."""
        return self.ended is not None or self._turn.locked()

    async def renew(self) -> None:
        """Extend the lease if it is fading; stop the work if it is lost."""
        if self.busy or not self.old(self._clock()):
            return
        try:
            await self.append(outcome.NOTHING)
        except LeaseLost:
            if self._work:
                self._work.cancel()

    async def _take_turn(self) -> BaseException | None:
        """Wait for a renewal that is under way, however the caller is interrupted meanwhile; the interruption."""
        interruption: BaseException | None = None
        while True:
            try:
                await self._turn.acquire()
            except GeneratorExit:  # the loop is gone
                raise
            except BaseException as error:  # noqa: BLE001 - raised by the caller, after its write
                interruption = error
            else:
                return interruption

    async def _write(self, operation: outcome.Write) -> BaseException | None:
        answer, interruption = await self._writer.carry_out(operation)
        if isinstance(answer, Fenced):
            self._lost = LeaseLost(self.lease.run_id, answer.state)
            raise self._lost
        self._position = answer.position
        self._touched = self._clock()
        if self in self._order:
            self._order.move_to_end(self)
        return interruption


class Holdings:
    """All runs held in one event loop; renews their leases together, so silent runs cost one trip a round."""

    def __init__(self, writer: Writer, *, lease: float, pickup: float) -> None:
        self._writer, self._lease, self._pickup = writer, lease, pickup
        self._held: Order = OrderedDict()
        """Who has not written for longest comes first."""
        self._rounds: asyncio.Task[None] | None = None

    def hold(self, lease: Lease) -> HeldRun:
        """Begin to keep a claimed run alive."""
        run = HeldRun(self._writer, lease, extend=self._lease, pickup=self._pickup, order=self._held)
        self._held[run] = None
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._go_round(), name="noukai-leases")
        return run

    def release(self, run: HeldRun) -> None:
        """Stop keeping it alive."""
        self._held.pop(run, None)

    async def aclose(self) -> None:
        """Stop renewing; leases still held run out by themselves."""
        if self._rounds:
            self._rounds.cancel()
            await asyncio.wait([self._rounds])

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 6)
            await self.renew()

    async def renew(self) -> None:
        """One round: extend the leases that are fading."""
        # Not even a look at each: the memory of thousands of runs comes slowly, and meanwhile all of them wait.
        now = asyncio.get_running_loop().time()
        fading = [run for run in takewhile(lambda run: run.old(now), self._held) if not run.busy]
        answers = await asyncio.gather(*(run.renew() for run in fading), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, Exception):
                logger.error("a lease could not be renewed", exc_info=answer)
