"""A Celery execution pool of threads whose blocking calls can be ended: by a revocation, and when the worker stops.

Celery's own threads pool can neither: a revocation with terminate does nothing, and a stopping worker waits for its tasks, however
long. A thread cannot be killed; so a task body says how its blocking call is ended (``interruptible``), from another thread.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery.concurrency.base import BasePool, apply_target
from celery.utils.log import get_logger

from .blocking import Threads
from .job import Interruption, current_job, is_revoked

logger = get_logger(__name__)

#: Seconds between two calls that keep a connection alive while the pool waits for its tasks.
_BEAT: Final = 0.5


class ThreadJob:
    """One task in the pool; it is also what ``apply_async`` returns."""

    def __init__(self, task_id: str | None) -> None:
        self.task_id = task_id
        #: Why the body was interrupted, if it was.
        self.interruption: Interruption | None = None
        self.recorded = False
        self._end: Callable[[], object] | None = None
        self._lock = threading.Lock()

    def interrupt(self, why: Interruption) -> None:
        """End the blocking call that the body is in, or the next one; once, from any thread."""
        with self._lock:
            if self.interruption is not None:
                return
            self.interruption = why
            end = self._end
        if end is not None:
            end()

    @contextmanager
    def interruptible(self, end: Callable[[], object]) -> Iterator[None]:
        with self._lock:
            self._end = end
            interrupted = self.interruption is not None
        if interrupted:
            end()
        try:
            yield
        finally:
            with self._lock:
                self._end = None

    def terminate(self, signum: object) -> None:  # noqa: ARG002 -- Celery's signature
        """Celery's: the request was revoked or taken back, perhaps before it was accepted."""
        self.interrupt("revoke" if is_revoked(self.task_id) else "drain")


@contextmanager
def interruptible(end: Callable[[], object]) -> Iterator[None]:
    """While inside, ``end`` is called, from another thread, when the running task is to stop; ``interruption()`` tells why.

    Called at once if that was before. In pools other than ``ThreadPool`` nothing happens.
    """
    job = current_job.get()
    if isinstance(job, ThreadJob):
        with job.interruptible(end):
            yield
    else:
        yield


class ThreadPool(BasePool):  # type: ignore[misc] # Celery has no types
    """Tasks in daemon threads, ``limit`` (``-c``) at once; more wait in the order in which they came."""

    #: Seconds that running tasks have to end by themselves when the worker stops; then they are interrupted.
    grace: float = 30.0
    #: Seconds that interrupted tasks have to clean up; then they are abandoned.
    drain_timeout: float = 5.0

    body_can_be_buffer = True
    signal_safe = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pids = itertools.count(1)
        self._threads = Threads(self.limit, "thread-pool")
        self._jobs: dict[int, ThreadJob] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._hub: Any = None

    def register_with_event_loop(self, loop: Any) -> None:
        """Celery's: the hub whose timers are fired while the pool waits."""
        self._hub = loop

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        callback: Callable[..., object] | None = None,
        accept_callback: Callable[..., object] | None = None,
        correlation_id: str | None = None,
        **_: Any,
    ) -> ThreadJob:
        """Celery's: run a task as soon as a thread is free."""
        pid, job = next(self._pids), ThreadJob(correlation_id)
        body = functools.partial(apply_target, target, args, kwargs, callback, accept_callback, pid=pid)
        self._threads.submit(functools.partial(self._work, pid, job, body))
        return job

    def _work(self, pid: int, job: ThreadJob, body: Callable[[], object]) -> None:
        with self._changed:
            if self._closing:
                return  # not acknowledged: closing the connection puts the message back into its queue
            self._jobs[pid] = job
        token = current_job.set(job)
        try:
            body()
        except Exception:
            # Celery's tracer lets nothing through; what its callbacks raise concerns one task's report.
            logger.exception("Task %s ended, and Celery could not be told", job.task_id)
        finally:
            current_job.reset(token)
            with self._changed:
                del self._jobs[pid]
                self._changed.notify_all()

    def terminate_job(self, pid: int, signal: object = None) -> None:
        """Celery's: a running task was revoked with terminate, or is taken back."""
        job = self._jobs.get(pid)
        if job is not None:
            job.terminate(signal)

    def on_stop(self) -> None:
        """Wait for the running tasks, then interrupt them, then leave them."""
        self._stop(self.grace)

    def on_terminate(self) -> None:
        """The same without the wait."""
        self._stop(0.0)

    def _stop(self, grace: float) -> None:
        with self._changed:
            if self._closing:
                return
            self._closing = True
        self._threads.close()
        if self._wait(grace):
            return
        for job in list(self._jobs.values()):
            job.interrupt("drain")
        if not self._wait(self.drain_timeout):
            for job in list(self._jobs.values()):
                logger.warning(
                    "Task %s still runs %s s after it was stopped; it is abandoned", job.task_id, self.drain_timeout
                )

    def _wait(self, seconds: float) -> bool:
        """Whether all tasks have ended within so many seconds."""
        end = time.monotonic() + seconds
        while True:
            with self._changed:
                left = end - time.monotonic()
                if self._changed.wait_for(lambda: not self._jobs, timeout=max(0.0, min(left, _BEAT))):
                    return True
            if left <= 0:
                return False
            self._keep_connection_alive()

    def _keep_connection_alive(self) -> None:
        if self._hub is None:
            return
        try:
            self._hub.fire_timers()
        except Exception:
            # A dead connection must not end the wait for the running tasks.
            logger.warning("A timer failed while the pool waited for its tasks", exc_info=True)

    @property
    def num_processes(self) -> int:
        """Celery's: how many tasks run at once."""
        return int(self.limit)

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()
        return info | {"running": len(self._jobs), "draining": self._closing}
