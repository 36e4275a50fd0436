"""The event loop in its thread: starts jobs up to a limit, interrupts them, drains them, and closes."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

from celery.utils.log import get_logger

from .blocking import Threads, use_threads
from .job import Interruption, Job, current_job

logger = get_logger(__name__)

Cleanup: TypeAlias = Callable[[], Awaitable[object]]

#: Seconds that each step of closing the loop may take.
CLOSING: Final = 1.0


class JobLoop:
    """Jobs on one event loop in one daemon thread. Its public methods may be called from any thread."""

    def __init__(self, limit: int, blocking_threads: int) -> None:
        self.loop = asyncio.new_event_loop()
        self._limit = limit
        self._running: dict[int, Job] = {}
        self._waiting: deque[Job] = deque()
        self._cleanups: list[Cleanup] = []
        self._closing = False
        self._threads = Threads(blocking_threads, "asyncio-pool-blocking")
        # Each job gets its own copy of the context of the pool's start.
        self._context = contextvars.copy_context()
        self._context.run(use_threads, self._threads)
        self._thread = threading.Thread(target=self._serve, name="asyncio-pool", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def find(self, pid: int) -> Job | None:
        """The running job with this number."""
        return self._running.get(pid)

    def submit(self, job: Job) -> None:
        """Run a job, after those that wait already."""
        self._soon(self._admit, job)

    def resize(self, limit: int) -> None:
        """Let this many run at once. Running jobs go on; no more begin until fewer than the new limit run."""
        self._limit = limit
        self._soon(self._fill)

    def drop_waiting(self) -> None:
        """Forget the jobs that have not begun."""
        self._soon(self._waiting.clear)

    def interrupt(self, job: Job, why: Interruption, signum: object) -> None:
        """Cancel a job, running or waiting."""
        self._soon(self._interrupt, job, why, signum)

    def add_cleanup(self, cleanup: Cleanup) -> None:
        """Have this awaited after the last job, before the loop closes; the last one added is the first."""
        self._cleanups.append(cleanup)

    def drain(self, timeout: float | None) -> Future[None]:
        """End the running jobs, and then what else is on the loop: no job begins any more.

        With a timeout they are cancelled and have that many seconds to clean up; with None they are waited for.
        """
        return asyncio.run_coroutine_threadsafe(self._drain(timeout), self.loop)

    def stop(self) -> None:
        """Close the loop at once; jobs that still run are abandoned."""
        self._soon(self.loop.stop)
        self._thread.join(CLOSING)
        self._threads.close()

    def _soon(self, function: Callable[..., object], *args: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # The loop is closed, and with it everything that the call could concern.
            return

    # From here on in the loop's thread.

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            while True:
                try:
                    self.loop.run_forever()
                except BaseException:
                    # SystemExit in an asyncio task that a body started: asyncio lets it through. The other tasks go on.
                    logger.critical("Something tried to end the asyncio pool's loop", exc_info=True)
                else:
                    break
            for task in asyncio.all_tasks(self.loop):
                # Abandoned on purpose, and logged by name.
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    def _admit(self, job: Job) -> None:
        self._waiting.append(job)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._limit and not self._closing:
            self._begin(self._waiting.popleft())

    def _begin(self, job: Job) -> None:
        self._running[job.pid] = job
        context = self._context.copy()
        context.run(current_job.set, job)
        job.task = self.loop.create_task(job.work(), context=context)
        job.task.add_done_callback(lambda _: self._ended(job))

    def _ended(self, job: Job) -> None:
        del self._running[job.pid]
        # Job, task and the task's context refer to each other; thousands of them should not wait for the cycle collector.
        job.task = None
        self._fill()

    def _interrupt(self, job: Job, why: Interruption, signum: object) -> None:
        job.interrupt(why, signum)
        if job in self._waiting:
            # It ends before its body begins, so it need not wait for a free place to say so.
            self._waiting.remove(job)
            self._begin(job)

    async def _drain(self, seconds: float | None) -> None:
        self._closing = True
        self._waiting.clear()
        jobs = list(self._running.values())
        if seconds is not None:
            for job in jobs:
                job.interrupt("drain")
        if jobs:
            await asyncio.wait([job.task for job in jobs if job.task is not None], timeout=seconds)
        for job in self._running.values():
            logger.warning("Task %s still runs %s s after it was cancelled; it is abandoned", job.task_id, seconds)
        for cleanup in reversed(self._cleanups):
            try:
                await asyncio.wait_for(cleanup(), CLOSING)
            except Exception:
                # One resource that cannot be closed must not keep the others open.
                logger.exception("Closing failed: %r", cleanup)
        strays = asyncio.all_tasks() - {asyncio.current_task()}
        for stray in strays:
            stray.cancel()
        if strays:
            await asyncio.wait(strays, timeout=CLOSING)
