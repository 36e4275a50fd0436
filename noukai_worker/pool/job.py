"""One task in flight in the asyncio pool: its limits, how it is interrupted, and how its end is reported to Celery."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeAlias

from billiard.einfo import ExceptionInfo
from celery.exceptions import SoftTimeLimitExceeded, Terminated, WorkerLostError
from celery.utils.functional import maybe_list
from celery.worker import state as worker_state

from .bridge import Body

Interruption: TypeAlias = Literal["revoke", "drain", "time_limit"]


class Interruptible(Protocol):
    """A task of one of our pools."""

    recorded: bool
    """Whether its body has written its own success for Celery."""

    @property
    def interruption(self) -> Interruption | None:
        """Why its body was interrupted, if it was."""


current_job: contextvars.ContextVar[Interruptible | None] = contextvars.ContextVar("pool_job", default=None)


class Owner(Protocol):
    """What a job needs of its pool."""

    loop: asyncio.AbstractEventLoop
    drain_timeout: float

    def report(self, callback: Callable[..., object] | None, *args: object) -> None:
        """Call one of Celery's callbacks in the thread that they belong to; from any thread."""

    def cancel(self, job: Job, signum: object) -> None:
        """Cancel the job, with the reason that Celery has; from any thread."""

    def add_cleanup(self, cleanup: Callable[[], Awaitable[object]]) -> None:
        """Await this before the loop closes."""


class Job:
    """One task in the pool. Every method runs in the loop's thread, except ``terminate``.

    It is also what ``apply_async`` returns: Celery keeps a weak reference and calls ``terminate`` on it.
    """

    __slots__ = (
        "__weakref__", "_body", "_over", "_owner", "_timers", "accept_callback", "acks_late", "args", "callback",
        "error_callback", "interruption", "kwargs", "pid", "recorded", "signum", "soft_timeout", "target", "task", "task_id",
        "timeout", "timeout_callback",
    )  # fmt: skip

    def __init__(
        self,
        *,
        pid: int,
        owner: Owner,
        task_id: str | None,
        acks_late: bool,
        target: Callable[..., Any],
        args: Any,
        kwargs: Any,
        callback: Callable[..., object] | None,
        accept_callback: Callable[..., object] | None,
        error_callback: Callable[..., object] | None,
        timeout_callback: Callable[..., object] | None,
        soft_timeout: float | None,
        timeout: float | None,
    ) -> None:
        self.pid = pid
        self._owner = owner
        self.task_id = task_id
        self.acks_late = acks_late
        self.target = target
        self.args = args
        self.kwargs = kwargs
        self.callback = callback
        self.accept_callback = accept_callback
        self.error_callback = error_callback
        self.timeout_callback = timeout_callback
        self.soft_timeout = soft_timeout
        self.timeout = timeout
        #: Why the body was cancelled, if it was.
        self.interruption: Interruption | None = None
        self.signum: object = None
        self.recorded = False
        self.task: asyncio.Task[None] | None = None
        self._body = Body(self._call)
        self._timers: list[asyncio.TimerHandle] = []
        self._over = False

    def _call(self) -> Any:
        return self.target(*self.args, **self.kwargs)

    async def work(self) -> None:
        """Run the task and report its end. Raises nothing."""
        self._owner.report(self.accept_callback, self.pid, time.monotonic())
        self._set_limits()
        try:
            outcome = await self._body
        except asyncio.CancelledError as error:
            self._end(*self._cancelled(error))
        except Exception as error:  # noqa: BLE001 -- what the tracer lets through (Reject, MemoryError) is for Celery's on_failure
            self._end(self.error_callback, _info(error))
        except BaseException as error:  # noqa: BLE001 -- SystemExit and the like would stop the loop, and with it every task
            self._end(self.error_callback, _info(WorkerLostError(repr(error))))
        else:
            if self.revoked:
                self._end(self.error_callback, _info(Terminated(self.signum)))
            else:
                self._end(self.callback, outcome)

    def interrupt(self, why: Interruption, signum: object = None) -> None:
        """Cancel the body: it sees ``asyncio.CancelledError`` at its await point, and ``interruption()`` tells it why.

        Once: Celery terminates a request twice, and the second time would hit the body while it cleans up.
        """
        if self.interruption is None:
            self.interruption, self.signum = why, signum
        elif why != "time_limit":
            return
        self._body.interrupt(asyncio.CancelledError(why))

    def terminate(self, signum: object) -> None:
        """Celery's: the request was revoked or taken back, perhaps before it was accepted. From any thread."""
        self._owner.cancel(self, signum)

    def add_cleanup(self, cleanup: Callable[[], Awaitable[object]]) -> None:
        self._owner.add_cleanup(cleanup)

    def _set_limits(self) -> None:
        if self.soft_timeout:
            self._timers.append(self._owner.loop.call_later(self.soft_timeout, self._soft_limit))
        if self.timeout:
            self._timers.append(self._owner.loop.call_later(self.timeout, self._hard_limit))

    def _soft_limit(self) -> None:
        self._owner.report(self.timeout_callback, True, self.soft_timeout)
        self._body.interrupt(SoftTimeLimitExceeded(self.soft_timeout))

    def _hard_limit(self) -> None:
        # Reported before the body has ended: cleaning up may take as long as it likes, the task is over now.
        self._end(self.timeout_callback, False, self.timeout)
        self._insist()

    def _insist(self) -> None:
        # A body may swallow the cancellation. It cannot be killed, as a process can, but it is asked again.
        self.interrupt("time_limit")
        self._timers.append(self._owner.loop.call_later(self._owner.drain_timeout, self._insist))

    def _cancelled(self, error: asyncio.CancelledError) -> tuple[Callable[..., object] | None, object]:
        if self.interruption == "revoke" or self.signum is not None:
            # Celery announces the revocation itself; for a task that it takes back (cold shutdown, connection lost)
            # it leaves the message alone. Both are decided in Request.on_failure.
            return self.error_callback, _info(Terminated(self.signum))
        if self.interruption == "drain":
            if self.acks_late:
                # Not acknowledged: closing the connection puts the message back into its queue.
                return None, None
            return self.error_callback, _info(WorkerLostError("The worker was stopped while the task ran."))
        stray = RuntimeError(
            "The task body was cancelled by its own code (asyncio.CancelledError reached the end of it)."
        )
        stray.__cause__ = error
        return self.error_callback, _info(stray)

    def _end(self, callback: Callable[..., object] | None, *args: object) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if not self._over:
            self._over = True
            self._owner.report(callback, *args)

    @property
    def revoked(self) -> bool:
        """Whether Celery was told that the task is revoked; whatever its body does then does not change that."""
        return self.interruption == "revoke"

    @property
    def over(self) -> bool:
        """Whether the outcome is fixed already, though the body still runs: revoked, or past its hard time limit."""
        return self._over or self.revoked


def interruption() -> Interruption | None:
    """Why the running task was interrupted; None when it was not, and outside the pools of this package.

    * ``"drain"``: the worker gives the task up but its message will be delivered again (shutdown, broker connection lost);
    * ``"revoke"``: somebody revoked it with terminate;
    * ``"time_limit"``: its hard time limit passed and it has been reported as failed.
    """
    job = current_job.get()
    return None if job is None else job.interruption


def is_ours() -> bool:
    """Whether the caller runs in a task of one of this package's pools."""
    return current_job.get() is not None


def recorded() -> None:
    """Say that the running task's success was written to the result backend by its body: it need not be written again."""
    job = current_job.get()
    if job is not None:
        job.recorded = True


def has_recorded() -> bool:
    """Whether the running task has said so."""
    job = current_job.get()
    return job is not None and job.recorded


def draining() -> bool:
    """Whether the running task was cancelled because its worker stops, so that its message will be delivered again."""
    return interruption() == "drain"


def is_revoked(task_id: str | None) -> bool:
    """Whether somebody revoked the task; if not, Celery takes it back (cold shutdown, connection lost)."""
    if task_id in worker_state.revoked:
        return True
    request = worker_state.requests.get(task_id)
    if request is None:
        return False
    return any(
        set(maybe_list(worker_state.revoked_stamps.get(header, ()))) & set(maybe_list(stamp))
        for header, stamp in request.stamps.items()
    )


def _info(error: BaseException) -> ExceptionInfo:
    return ExceptionInfo((type(error), error, error.__traceback__ or sys.exc_info()[2]))
