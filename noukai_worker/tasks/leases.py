"""The right to work on a run while a thread blocks in a call: one thread per process renews the leases of all."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from celery.exceptions import SoftTimeLimitExceeded

from ..errors import StoreUnavailable
from ..runs import Lease, RunStore, operations, outcome
from ..runs.answers import Advanced, Fenced
from ..stream import LeaseLost

logger = logging.getLogger(__name__)

_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)


class HeldCall:
    """The right to write to one run, for threads; writes go one after another, each extends the lease by `extend` seconds."""

    def __init__(self, store: RunStore, lease: Lease, *, extend: float, on_loss: Callable[[], object]) -> None:
        self.lease = lease
        self.lost: LeaseLost | None = None
        self._store, self._extend, self._on_loss = store, extend, on_loss
        self._position = lease.position
        self._touched = time.monotonic()
        self._turn = threading.Lock()
        self._ended = False

    def append(self, progress: outcome.Progress) -> None:
        """Write `progress`, however long Redis is away. Raises LeaseLost."""
        with self._turn:
            write = outcome.keep(self.lease, self._position, progress, extend=self._extend)
            self._take(insist(self._store, write))

    def close(self, end: outcome.Outcome, *, pickup: float, telling: operations.Operation[bool] | None = None) -> bool:
        """End the attempt, however long Redis is away: a paid result is not thrown away for that. Raises LeaseLost.

        `telling` is one act with it; whether Celery is told.
        """
        with self._turn:
            write = outcome.close(self.lease, self._position, end, pickup=pickup)
            answer, told = persist(lambda: self._write_and_tell(write, telling), to_the_end=True)
            self._take(answer)
            self._ended = True
            return told

    def confirm(self) -> None:
        """See that the lease is still ours, if it may have run out since the last write. Raises LeaseLost."""
        if time.monotonic() - self._touched > self._extend / 2:
            self.append(outcome.NOTHING)

    def renew(self) -> None:
        """Extend the lease, once, if nobody is writing; the loss of it ends the call. Raises StoreUnavailable."""
        if not self._turn.acquire(blocking=False):
            return  # what is being written extends it, and may take as long as Redis is away
        try:
            if self._ended or self.lost:
                return
            answer = self._store.perform(outcome.keep(self.lease, self._position, outcome.NOTHING, extend=self._extend))
            try:
                self._take(answer)
            except LeaseLost as lost:
                logger.info("run %s is no longer ours (%s)", self.lease.run_id, lost.state)
                self._on_loss()
        finally:
            self._turn.release()

    def _write_and_tell(
        self, write: outcome.Write, telling: operations.Operation[bool] | None
    ) -> tuple[Advanced | Fenced, bool]:
        if telling is None:
            return self._store.perform(write), False
        answer, told = self._store.perform(operations.chained(write, telling))
        return answer, told is True

    def _take(self, answer: Advanced | Fenced) -> None:
        if isinstance(answer, Fenced):
            self.lost = LeaseLost(self.lease.run_id, answer.state)
            raise self.lost
        self._position = answer.position
        self._touched = time.monotonic()


class LeaseKeeper(threading.Thread):
    """A daemon thread; made on first use in each process."""

    def __init__(self, store: RunStore, *, lease: float) -> None:
        super().__init__(name="noukai-leases", daemon=True)
        self._store, self._lease = store, lease
        self._held: set[HeldCall] = set()
        self._awake = threading.Event()
        self.start()

    @contextmanager
    def keep(self, lease: Lease, on_loss: Callable[[], object]) -> Iterator[HeldCall]:
        """While inside, the lease is renewed; `on_loss` is called, in another thread, when it is found to be lost."""
        held = HeldCall(self._store, lease, extend=self._lease, on_loss=on_loss)
        self._held.add(held)
        self._awake.set()
        try:
            yield held
        finally:
            self._held.discard(held)

    def run(self) -> None:
        """Renew everything that is held, three times a lease; sleep while nothing is."""
        pause = threading.Event()
        while True:
            if not self._held:
                self._awake.clear()
                if not self._held:
                    self._awake.wait()
            pause.wait(self._lease / 3)
            for held in list(self._held):
                self._renew(held)

    def _renew(self, held: HeldCall) -> None:
        try:
            held.renew()
        except StoreUnavailable as error:
            logger.warning("%s; the lease of run %s could not be renewed", error, held.lease.run_id)
        except Exception:
            # One run's trouble must not end the renewing of all the others.
            logger.exception("the lease of run %s could not be renewed", held.lease.run_id)


@cache
def keeper(store: RunStore, lease: float) -> LeaseKeeper:
    """The keeper of this process. `lease` in seconds."""
    return LeaseKeeper(store, lease=lease)


os.register_at_fork(after_in_child=keeper.cache_clear)


def insist(store: RunStore, operation: operations.Operation[operations.T]) -> operations.T:
    """Carry out an operation however long Redis is away. All may be repeated."""
    return persist(lambda: store.perform(operation))


def persist(act: Callable[[], operations.T], *, to_the_end: bool = False) -> operations.T:
    """Do something again until it does not raise StoreUnavailable.

    `to_the_end`: not for Celery's soft time limit either; the call is over, only its record is missing.
    """
    tries = 0
    while True:
        try:
            try:
                return act()
            except StoreUnavailable as error:
                if tries == 0:
                    logger.warning("%s; waiting for it", error)
                time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
        except SoftTimeLimitExceeded:
            if not to_the_end:
                raise
