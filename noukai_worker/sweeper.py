"""Looks after runs whose deadline has passed: lost messages, dead workers, due retries and pauses that were too long (law 5).

Any number of sweepers may run. What to do with a run is decided in Redis, atomically; what remains for the sweeper is to send a
message or to tell Celery that the run has ended. If it dies in between, the run's next deadline brings another one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .errors import StoreUnavailable
from .runs import RunStore, answers, operations
from .settings import Settings

logger = logging.getLogger(__name__)

_AT_ONCE = 100
_A_ROUND = 10_000
"""Runs that one round looks at; bounds it should some of them come back at once."""


class Sweeper(threading.Thread):
    """A daemon thread. `send` publishes a run's message; `end` tells Celery of a run that was ended here."""

    def __init__(
        self,
        settings: Settings,
        *,
        send: Callable[[answers.Unsent], None],
        end: Callable[[answers.Ended], None],
        store: RunStore | None = None,
    ) -> None:
        super().__init__(name="noukai-sweeper", daemon=True)
        self._settings = settings
        self._send, self._end = send, end
        self._store = store or RunStore(settings.redis_url, answer_within=settings.answer_within)
        self._stopped = threading.Event()
        self._patient_until = 0.0

    def run(self) -> None:
        """Sweep until stopped; nothing that one run or Redis does ends it."""
        pause = 0.0
        while not self._stopped.wait(pause):
            pause = self._settings.sweep_interval
            try:
                pause = self.sweep()
            except StoreUnavailable as error:
                logger.warning("%s; sweeping goes on when it is back", error)
            except Exception:
                logger.exception("a round of the sweeper failed")

    def sweep(self) -> float:
        """One round over everything that is overdue; the seconds until the next one."""
        seen = 0
        away: StoreUnavailable | None = None
        while not self._stopped.is_set():
            found = self._store.perform(operations.due(_AT_ONCE, lease=self._settings.lease))
            for run_id in found.run_ids:
                try:
                    self._look_at(run_id, found.patient or time.monotonic() < self._patient_until)
                except StoreUnavailable as error:
                    # As `due` does for a whole server: when it is back, its workers get the chance to be heard.
                    self._patient_until = time.monotonic() + self._settings.lease
                    if not self._store.clustered:
                        raise
                    away = error
            if away:
                logger.warning("%s; its runs are looked after when it is back", away)
            seen += len(found.run_ids)
            if len(found.run_ids) < _AT_ONCE or seen >= _A_ROUND or away:
                longest = self._settings.sweep_interval
                return longest if found.next_in is None else min(longest, found.next_in + 0.001)
        return 0.0

    def stop(self) -> None:
        """Stop, and wait for the round that is under way."""
        self._stopped.set()
        self.join(timeout=self._settings.drain_grace)
        self._store.close()

    def _look_at(self, run_id: str, patient: bool) -> None:
        settings = self._settings
        try:
            overdue = operations.overdue(run_id, pickup=settings.pickup, lease=settings.lease, patient=patient)
            answer = self._store.perform(overdue)
            if isinstance(answer, answers.Unsent):
                self._dispatch(answer)
            elif isinstance(answer, answers.Ended):
                logger.warning("run %s failed: %s: %s", run_id, answer.failure.code, answer.failure.message)
                self._end(answer)
        except StoreUnavailable:
            raise
        except Exception:
            # One run's trouble is not the next one's.
            logger.exception("run %s could not be looked after", run_id)
            self._store.perform(operations.shelve(run_id, pause=settings.pickup))

    def _dispatch(self, unsent: answers.Unsent) -> None:
        try:
            self._send(unsent)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            logger.warning("run %s could not be sent (%s); it will be tried again", unsent.run_id, error)
            self._store.perform(operations.unsent(unsent.run_id, pickup=self._settings.pickup))
