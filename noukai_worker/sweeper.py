"""Looks after runs whose deadline has passed: lost messages, dead workers, due retries and pauses that were too long (law 5).

Any number of sweepers may run. What to do with a run is decided in Redis, atomically; what remains for the sweeper is to send a
message or to tell Celery that the run has ended. If it dies in between, the run's next deadline brings another one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from .errors import StoreUnavailable
from .runs import RunStore, operations
from .settings import Settings

logger = logging.getLogger(__name__)

_AT_ONCE = 100


class Sweeper(threading.Thread):
    """A daemon thread. `send` publishes a run's message; `end` tells Celery of a run that was ended here."""

    def __init__(
        self,
        settings: Settings,
        *,
        send: Callable[[operations.Unsent], None],
        end: Callable[[operations.Ended], None],
        store: RunStore | None = None,
    ) -> None:
        super().__init__(name="noukai-sweeper", daemon=True)
        self._settings = settings
        self._send, self._end = send, end
        self._store = store or RunStore(settings.redis_url)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Sweep until stopped. While Redis is away it waits, and gives workers a lease's time to be heard again after that."""
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                pause = self.sweep()
            except StoreUnavailable as error:
                logger.warning("%s; sweeping goes on when it is back", error)
                pause = self._reconnected()

    def sweep(self) -> float:
        """One round over everything that is overdue; the seconds until the next one."""
        while not self._stopped.is_set():
            found = self._store.perform(operations.due(_AT_ONCE))
            for run_id in found.run_ids:
                self._look_at(run_id)
            if len(found.run_ids) < _AT_ONCE:
                longest = self._settings.sweep_interval
                return longest if found.next_in is None else min(longest, found.next_in + 0.001)
        return 0.0

    def stop(self) -> None:
        """Stop, and wait for the round that is under way."""
        self._stopped.set()
        self.join(timeout=self._settings.drain_grace)
        self._store.close()

    def _look_at(self, run_id: str) -> None:
        answer = self._store.perform(operations.overdue(run_id, pickup=self._settings.pickup))
        try:
            if isinstance(answer, operations.Unsent):
                self._send(answer)
            elif isinstance(answer, operations.Ended):
                logger.warning("run %s failed: %s: %s", run_id, answer.failure.code, answer.failure.message)
                self._end(answer)
        except Exception:
            logger.exception("run %s could not be sent; it will be tried again", run_id)

    def _reconnected(self) -> float:
        # While Redis was away nobody could renew a lease. Workers that live say so now; only then is silence a sign of death.
        while not self._stopped.wait(self._settings.sweep_interval):
            try:
                self._store.perform(operations.due(1))
            except StoreUnavailable:
                continue
            return self._settings.lease
        return 0.0
