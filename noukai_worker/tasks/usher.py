"""Calls waiting runs when it is their turn, and keeps the permits of those that run: one thread in each process that works.

Attempts only say what happened to them, and never wait for this thread. What it does not get to is done by others: a permit that
is not renewed runs out with the lease, and any usher calls whoever is due.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from queue import Empty, SimpleQueue

from celery import Celery

from ..errors import StoreUnavailable
from ..runs import RunStore, State, answers, operations
from ..runs.operations import Gate
from ..runs.operations.gates import ROOMS
from ..settings import UNLIMITED, Settings, current
from . import dispatch

logger = logging.getLogger(__name__)

_LONGEST_PAUSE = 86_400.0
_SHORTEST_ROUND = 0.01
"""Seconds. A fast rate calls several runs in a round, rather than each in one of its own."""


def gate_of(settings: Settings, credential: str, mode: str) -> Gate:
    """The gate of a credential, for workers: they know its limits."""
    limit = settings.limits.get(credential, UNLIMITED)
    return Gate(credential, operations.room_of(mode), dispatch.lifetime(settings), limit)


class Usher(threading.Thread):
    """A daemon thread; `send` publishes a run's message. Its methods may be called from any thread, and return at once."""

    def __init__(
        self, settings: Settings, *, send: Callable[[answers.Unsent], None], store: RunStore | None = None
    ) -> None:
        super().__init__(name="noukai-usher", daemon=True)
        self._settings, self._send = settings, send
        self._store = store or RunStore(settings.redis_url, answer_within=settings.answer_within)
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._held: defaultdict[Gate, set[str]] = defaultdict(set)
        self._ended: defaultdict[Gate, dict[str, bool]] = defaultdict(dict)
        self._pauses: dict[str, float] = {}
        self._due: dict[Gate, float] = {}
        self._tended: list[Gate] = []
        self._renewal = 0.0

    def tend(self, credentials: set[str]) -> None:
        """Look after these for as long as the process lives, and not only while runs of this process come and go."""
        gates = [gate_of(self._settings, name, room) for name in sorted(credentials) for room in ROOMS]
        self._orders.put(lambda: self._tended.extend(gates))

    def hold(self, gate: Gate, run_id: str) -> None:
        """An attempt has begun with a permit: renew it."""
        self._orders.put(lambda: self._held[gate].add(run_id))

    def leave(self, gate: Gate, run_id: str, *, refused: bool = False) -> None:
        """It has ended: give the permit back, and call the next. `refused`: it came to nothing, whatever the run is doing."""

        def order() -> None:
            self._held[gate].discard(run_id)
            self._ended[gate][run_id] = refused
            for room in ROOMS:  # they share the permits
                self._due[gate_of(self._settings, gate.credential, room)] = 0.0

        self._orders.put(order)

    def look(self, gate: Gate) -> None:
        """Somebody waits, and it may be their turn."""
        self._orders.put(lambda: self._due.update({gate: 0.0}))

    def pause(self, credential: str, seconds: float) -> None:
        """The service asked for a pause of the credential, as of now."""
        until = time.monotonic() + min(seconds, _LONGEST_PAUSE)
        self._orders.put(lambda: self._pauses.update({credential: max(until, self._pauses.get(credential, 0.0))}))

    def stop(self) -> None:
        """Do what was ordered before, then end."""
        self._orders.put(None)
        self.join(timeout=self._settings.drain_grace)

    def run(self) -> None:
        """Work round by round until stopped; nothing that Redis does ends it."""
        pause = 0.0
        while self._take_orders(pause):
            try:
                pause = self.round()
            except StoreUnavailable as error:
                logger.warning("%s; waiting runs are called when it is back", error)
                pause = self._settings.sweep_interval
            except Exception:
                logger.exception("a round of the usher failed")
                pause = self._settings.sweep_interval
        self._store.close()

    def _take_orders(self, pause: float) -> bool:
        """Wait `pause` seconds for the first; False if it is time to end."""
        with suppress(Empty):
            while True:
                order = self._orders.get(timeout=pause)
                if order is None:
                    with suppress(StoreUnavailable):
                        self.round()
                    return False
                order()
                pause = 0.0
        return True

    def round(self) -> float:
        """Carry out what was ordered, renew permits, and call whoever is due; the seconds until the next round."""
        self._take_orders(0.0)
        settings = self._settings
        for credential, until in list(self._pauses.items()):
            gate = gate_of(settings, credential, "stream")
            self._store.perform(operations.pause(gate, max(until - time.monotonic(), 0.001)))
            del self._pauses[credential]
        now = time.monotonic()
        if now >= self._renewal:
            for gate, run_ids in self._held.items():
                if run_ids:
                    self._store.perform(operations.renew(gate, sorted(run_ids), lease=settings.lease))
            self._renewal = now + settings.lease / 3
        for gate in {*self._tended, *self._due}:
            if self._due.get(gate, 0.0) <= now:
                self._call_due(gate)
        latest = min([*self._due.values(), self._renewal if any(self._held.values()) else now + settings.lease])
        return max(latest - time.monotonic(), _SHORTEST_ROUND)

    def _call_due(self, gate: Gate) -> None:
        settings = self._settings
        ended = [run_id for run_id, refused in self._ended[gate].items() if refused or self._has_left(run_id)]
        gone: list[str] = []
        while True:
            release = operations.release(gate, pickup=settings.pickup, ended=ended, gone=gone)
            found = self._store.perform(release)
            self._ended.pop(gate, None)
            ended, gone = [], [run_id for run_id in found.run_ids if not self._call(run_id)]
            if found.next_in != 0 and not gone:
                break
        latest = settings.sweep_interval if found.next_in is None else min(found.next_in, settings.sweep_interval)
        if found.next_in is None and gate not in self._tended:
            self._due.pop(gate, None)
        else:
            self._due[gate] = time.monotonic() + latest

    def _has_left(self, run_id: str) -> bool:
        # One that was given back, or taken away, keeps its permit for its next attempt.
        return self._store.perform(operations.state(run_id)) not in (State.RUNNING, State.QUEUED)

    def _call(self, run_id: str) -> bool:
        """Send its message; False if it has no business in the room any more."""
        try:
            unsent = self._store.perform(operations.turn(run_id, pickup=self._settings.pickup))
        except StoreUnavailable:
            raise
        except Exception:
            # Its record is damaged: it is left to the sweepers, and the others are not kept waiting.
            logger.exception("run %s could not be called", run_id)
            return False
        if unsent is None:
            return False
        try:
            self._send(unsent)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            logger.warning("run %s could not be sent (%s); it will be tried again", run_id, error)
        return True


@cache
def usher(app: Celery) -> Usher:
    """The usher of this process, started on first use."""
    made = Usher(current(), send=lambda unsent: dispatch.publish(app, unsent))
    made.start()
    return made


os.register_at_fork(after_in_child=usher.cache_clear)
