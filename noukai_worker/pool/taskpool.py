"""The pool as Celery sees it: tasks come in, their ends go out, and the loop drains when the worker stops."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from typing import Any, ClassVar

from celery import signals
from celery._state import _task_stack
from celery.concurrency.base import BasePool
from celery.exceptions import ImproperlyConfigured
from celery.utils import threads as celery_threads
from greenlet import getcurrent

from .blocking import offload, offload_app
from .job import Interruption, Job, current_job, is_revoked
from .loop import CLOSING, Cleanup, JobLoop
from .reports import Reports


class TaskPool(BasePool):  # type: ignore[misc]
    """Tasks as greenlets on one event loop in one thread.

    ``limit`` (``-c``) is how many run at once; more wait in the order in which they came. To change the class
    attributes, subclass.
    """

    #: At a warm shutdown cancel the running tasks; False waits for their end, as other pools do.
    drain_on_stop: ClassVar[bool] = True
    #: Seconds that cancelled tasks have to clean up.
    drain_timeout: float = 5.0
    #: How many of Celery's blocking calls (results, publishing) run at the same time.
    blocking_threads: ClassVar[int] = 16
    #: ``limit`` when Celery gives none.
    default_limit: ClassVar[int] = 1000

    signal_safe = False
    body_can_be_buffer = True

    limit: int
    _jobs: JobLoop | None = None

    def __init__(self, limit: int | None = None, **options: Any) -> None:
        super().__init__(self.default_limit if limit is None else limit, **options)
        self._pids = itertools.count(1)
        self._prepared: set[object] = set()
        self._reports = Reports()
        self._stopping = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop; raises RuntimeError before the pool was started."""
        return self._running.loop

    @property
    def _running(self) -> JobLoop:
        if self._jobs is None:
            raise RuntimeError("The asyncio pool was not started: call start() first.")
        return self._jobs

    # What Celery calls, in the worker's main thread.

    def on_start(self) -> None:
        if celery_threads.USE_FAST_LOCALS:
            raise ImproperlyConfigured(
                "The asyncio pool cannot run with USE_FAST_LOCALS: all tasks would share one current_task. Unset it."
            )
        _task_stack.__ident_func__ = _identity
        if self.app is not None:
            offload_app(self.app)
            for name in list(self.app.tasks):
                self._prepare(name)
        self._jobs = JobLoop(self.limit, self.blocking_threads)
        signals.worker_shutting_down.connect(self._on_signal, weak=False)

    def register_with_event_loop(self, loop: Any) -> None:
        self._reports.attach(loop)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        callback: Callable[..., object] | None = None,
        accept_callback: Callable[..., object] | None = None,
        error_callback: Callable[..., object] | None = None,
        timeout_callback: Callable[..., object] | None = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        correlation_id: str | None = None,
        **_: Any,
    ) -> Job:
        job = Job(
            pid=next(self._pids),
            owner=self,
            task_id=correlation_id,
            acks_late=self._prepare(args[0] if args else None),
            target=target,
            args=args,
            kwargs=kwargs or {},
            callback=callback,
            accept_callback=accept_callback,
            error_callback=error_callback,
            timeout_callback=timeout_callback,
            soft_timeout=soft_timeout or self.options.get("soft_timeout"),
            timeout=timeout or self.options.get("timeout"),
        )
        self._running.submit(job)
        return job

    def terminate_job(self, pid: int, signal: object = None) -> None:
        job = self._running.find(pid)
        if job is not None:
            self.cancel(job, signal)

    def grow(self, n: int = 1) -> None:
        self.limit += n
        self._running.resize(self.limit)

    def shrink(self, n: int = 1) -> None:
        self.limit = max(0, self.limit - n)
        self._running.resize(self.limit)

    def flush(self) -> None:
        # The connection is gone, so the messages of tasks that have not begun will be delivered again.
        if self._jobs is not None:
            self._jobs.drop_waiting()

    def on_stop(self) -> None:
        if self.drain_on_stop:
            self._end(self.drain_timeout, self.drain_timeout + 3 * CLOSING)
        else:
            self._end(None, math.inf)

    def on_terminate(self) -> None:
        self._end(CLOSING / 2, CLOSING)

    def _end(self, timeout: float | None, patience: float) -> None:
        """Drain, for at most ``patience`` seconds: a body that blocks the loop's thread blocks the drain as well."""
        if self._jobs is None or self._stopping:
            return
        self._stopping = True
        signals.worker_shutting_down.disconnect(self._on_signal)
        drained = self._jobs.drain(timeout)
        drained.add_done_callback(lambda _: self._reports.put(_nothing))
        give_up = time.monotonic() + patience
        while not drained.done() and time.monotonic() < give_up:
            self._reports.deliver(wait=min(0.5, patience))
            if not drained.done():  # or it would cost an idle worker's stop half a second
                self._reports.keep_connection_alive()
        self._jobs.stop()
        self._reports.close()

    @property
    def num_processes(self) -> int:
        return self.limit

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = super()._get_info()
        if self._jobs is not None:
            info.update({"running": self._jobs.running, "waiting": self._jobs.waiting, "draining": self._stopping})
        return info

    def _on_signal(self, **_: object) -> None:
        # Sent by the signal handler, in the hub's thread, whose poll goes on after it: Celery would see the signal only when
        # the poll's time is up. A report wakes it.
        self._running.loop.call_soon_threadsafe(self._reports.put, _nothing)

    def _prepare(self, name: object) -> bool:
        """Make a task fit for many at once in one thread; returns whether it is acknowledged late."""
        task = self.app.tasks.get(name) if isinstance(name, str) and self.app is not None else None
        if task is None:
            return False
        if name not in self._prepared:
            self._prepared.add(name)
            task.request_stack.__ident_func__ = _identity
            offload(task)
        acks_late: bool = task.acks_late
        return acks_late

    # What a job calls.

    def report(self, callback: Callable[..., object] | None, *args: object) -> None:
        """Call one of Celery's callbacks in Celery's thread."""
        self._reports.put(callback, *args)

    def cancel(self, job: Job, signum: object) -> None:
        """Cancel one job; why, Celery knows."""
        why: Interruption = "revoke" if is_revoked(job.task_id) else "drain"
        self._running.interrupt(job, why, signum)

    def add_cleanup(self, cleanup: Cleanup) -> None:
        """Await this before the loop closes."""
        self._running.add_cleanup(cleanup)


def on_loop_close(cleanup: Cleanup) -> None:
    """Have an async function called when the pool's loop is about to close, after the last task has ended.

    For what lives as long as the loop: clients, connections, background writers. The last one registered is closed first;
    each has one second. Raises RuntimeError outside a task of the asyncio pool.
    """
    job = current_job.get()
    if not isinstance(job, Job):
        raise RuntimeError(
            "on_loop_close() was called outside a task of the asyncio pool: close the resource yourself."
        )
    job.add_cleanup(cleanup)


def _identity() -> object:
    """The key of Celery's stacks of current tasks and requests.

    Celery's own key is the greenlet. A job's is a context variable, which asyncio tasks started by the body and threads that work
    for it inherit, so they find its current task too.
    """
    return current_job.get() or getcurrent()


def _nothing() -> None:
    """Only there to be delivered."""
