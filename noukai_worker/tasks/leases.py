"""Keeps the leases of blocking calls alive: one thread per process renews for all threads that wait for the service."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from ..errors import StoreUnavailable
from ..runs import Lease, RunStore, outcome
from ..runs.answers import Fenced

logger = logging.getLogger(__name__)


class LeaseKeeper(threading.Thread):
    """A daemon thread; made on first use in each process."""

    def __init__(self, store: RunStore, *, lease: float) -> None:
        super().__init__(name="noukai-leases", daemon=True)
        self._store, self._lease = store, lease
        self._held: set[Lease] = set()
        self._awake = threading.Event()
        self.start()

    @contextmanager
    def keep(self, lease: Lease) -> Iterator[None]:
        """While inside, the lease is renewed. Losing it is found out at the next write of the run."""
        self._held.add(lease)
        self._awake.set()
        try:
            yield
        finally:
            self._held.discard(lease)

    def run(self) -> None:
        """Renew everything that is held, three times a lease; sleep while nothing is."""
        pause = threading.Event()
        while True:
            if not self._held:
                self._awake.clear()
                if not self._held:
                    self._awake.wait()
            pause.wait(self._lease / 3)
            for lease in list(self._held):
                self._renew(lease)

    def _renew(self, lease: Lease) -> None:
        try:
            answer = self._store.perform(outcome.keep(lease, lease.position, outcome.NOTHING, extend=self._lease))
        except StoreUnavailable as error:
            logger.warning("%s; the lease of run %s could not be renewed", error, lease.run_id)
            return
        except Exception:
            # One run's trouble must not end the renewing of all the others.
            logger.exception("the lease of run %s could not be renewed", lease.run_id)
            return
        if isinstance(answer, Fenced):
            self._held.discard(lease)
            logger.info("run %s is no longer ours (%s)", lease.run_id, answer.state)


@cache
def keeper(store: RunStore, lease: float) -> LeaseKeeper:
    """The keeper of this process. `lease` in seconds."""
    return LeaseKeeper(store, lease=lease)


os.register_at_fork(after_in_child=keeper.cache_clear)
