"""The way of what happens to a task from the loop's thread to Celery's: one queue, emptied where Celery's consumer lives.

Celery's records of active requests are thereby touched by one thread only, as in the prefork pool, and sending an event
to the broker never blocks the loop.

The consumer's hub (kombu's) is woken through a socket that it polls. ``Hub.call_soon`` will not do, though kombu 5.7 wakes the
poll for it: a callback that is run so, and asks with ``call_soon`` for an acknowledgement to be sent, has asked after
the hub emptied its list and before it polls again; the acknowledgement leaves when that poll's time is up, a second later.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger

from .blocking import Threads

logger = get_logger(__name__)


class Reports:
    """Callbacks of Celery's that are due, in the order of what happened."""

    def __init__(self) -> None:
        self._due: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = queue.SimpleQueue()
        self._announced = False
        # Re-entrant: a signal handler that stops the pool may interrupt a delivery in the same thread.
        self._delivering = threading.RLock()
        self._hub: Any = None
        self._listening: socket.socket | None = None
        self._ringing: socket.socket | None = None
        self._thread = Threads(1, "asyncio-pool-reports")

    def attach(self, hub: Any) -> None:
        """Deliver in the thread of this hub (kombu) from now on. To be repeated when the hub was reset."""
        if self._listening is None:
            self._listening, self._ringing = socket.socketpair()
            self._listening.setblocking(False)
            self._ringing.setblocking(False)
        self._hub = hub
        hub.add_reader(self._listening, self._answer, self._listening)
        self._ring()

    def put(self, callback: Callable[..., object] | None, *args: object) -> None:
        """Have a callback called; from any thread, returns at once. None is for events that nobody asked for."""
        if callback is None:
            return
        self._due.put((callback, args))
        if self._announced:
            return
        self._announced = True
        if self._hub is None:
            # A transport without asyncio support (memory, SQS): its consumer polls, and has no hub to call.
            self._thread.submit(self.deliver)
        else:
            self._ring()

    def _ring(self) -> None:
        # A full buffer has rung already; a closed socket has nobody listening any more.
        if self._ringing is not None:
            with contextlib.suppress(OSError):
                self._ringing.send(b"\0")

    def _answer(self, bell: socket.socket) -> None:
        with contextlib.suppress(OSError):
            bell.recv(4096)
        self.deliver()

    def deliver(self, wait: float = 0.0) -> None:
        """Call the callbacks that are due; waits up to ``wait`` seconds for the first."""
        with self._delivering:
            self._announced = False
            while True:
                try:
                    callback, args = self._due.get(timeout=wait) if wait else self._due.get_nowait()
                except queue.Empty:
                    return
                wait = 0.0
                try:
                    callback(*args)
                except MemoryError:
                    raise
                except Exception:
                    # It concerns one task's report; the worker goes on, as with Celery's own pools.
                    logger.exception("A callback of Celery's raised: %r", callback)

    def keep_connection_alive(self) -> None:
        """Fire the hub's timers (AMQP heartbeats) while Celery's own loop stands still."""
        if self._hub is None:
            return
        try:
            self._hub.fire_timers()
        except Exception:
            # A dead connection must not end the wait for the running tasks.
            logger.warning("A timer failed while the pool waited for its tasks", exc_info=True)

    def close(self) -> None:
        """Deliver what is left. In the hub's thread."""
        self._thread.close()
        self.deliver()
        if self._listening is not None and self._ringing is not None:
            self._hub.remove_reader(self._listening)
            self._listening.close()
            self._ringing.close()
            self._listening = self._ringing = None
