"""This room holds the conversations about queued runs: hand one in, ask how it is, wait for its end (WIRE.md 5.1, 5.2)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from noukai_sdk._errors import APITimeoutError, FlowNotFoundError, NoukaiError
from noukai_sdk._models.jobs import JobAccepted, JobStatus
from noukai_sdk._models.requests import Callback, ExecuteRequest
from noukai_sdk._protocol.effects import CLOCK, Effect, Observe, Send, Sleep, watched
from noukai_sdk._protocol.replies import object_in
from noukai_sdk._protocol.retry import ask, is_transient
from noukai_sdk._protocol.session import CallSession

# So long may the service not know a job that it has accepted.
GRACE_SECONDS = 5.0
# A poll that hangs longer is worth less than another one.
_POLL_SECONDS = 30.0
# What the poll at the deadline is given, when there is no time left.
_LAST_POLL_SECONDS = 2.0
_PAUSE_AFTER_FAILURE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Submission:
    """A run to be queued. `timeout` in seconds."""

    request: ExecuteRequest
    callback: Callback
    path: str
    session: CallSession
    timeout: float | None
    max_retries: int
    observe: Observe | None = None

    def run(self) -> Generator[Effect, Any, tuple[JobAccepted, float]]:
        """The receipt, and when it came by the clock of `Clock`."""
        accepted = yield from watched(self._submit(), self.observe)
        return accepted, (yield CLOCK)

    def _submit(self) -> Generator[Effect, Any, JobAccepted]:
        self.session.refuse_replay("execute_async()")
        body = {**self.request.fresh_body(), **self.callback.members()}
        send = Send("POST", self.path, body, self.session.id, self.timeout)
        reply = yield from ask(send, self.max_retries)
        accepted = object_in(reply, JobAccepted, "the receipt of a job")
        accepted._session_id = self.session.id
        return accepted


@dataclass(frozen=True, slots=True)
class Polls:
    """Questions about one queued run. `submitted_at` is by the clock of `Clock`, None if this process did not do it."""

    execution_id: str
    path: str
    timeout: float
    max_retries: int
    submitted_at: float | None = None

    def once(self, timeout: float | None) -> Generator[Effect, Any, JobStatus]:
        """Where the run stands; `timeout` in seconds, None for the client's."""
        return (yield from self._ask(timeout, self.max_retries))

    def until_ended(self, timeout: float, interval: float) -> Generator[Effect, Any, JobStatus]:
        """The final status. Asks at once, every `interval` seconds, and at the deadline a last time.

        Raises APITimeoutError after `timeout` seconds. Until then failures that may pass are waited out.
        """
        ends_at = (yield CLOCK) + timeout
        room = timeout or _LAST_POLL_SECONDS
        heard = "nothing was heard of it"
        while True:
            failure: NoukaiError | None = None
            pause = interval
            try:
                status = yield from self._ask(min(room, self.timeout, _POLL_SECONDS), max_retries=0)
            except NoukaiError as error:
                if not is_transient(error):
                    raise
                failure = error
                pause = max(interval, error.retry_after or 0.0, _PAUSE_AFTER_FAILURE_SECONDS)
            else:
                if status.is_final:
                    return status
                heard = f"it was {status.status!r}"
            left = ends_at - (yield CLOCK)
            if left > 0:
                yield Sleep(min(pause, left))
            if left <= 0 or (failure is not None and (failure.retry_after or 0.0) > left):
                raise self._timed_out(timeout, heard) from failure
            room = left - pause if pause < left else _LAST_POLL_SECONDS

    def _ask(self, timeout: float | None, max_retries: int) -> Generator[Effect, Any, JobStatus]:
        try:
            reply = yield from ask(Send("GET", self.path, timeout=timeout), max_retries)
        except FlowNotFoundError:
            if self.submitted_at is None or (yield CLOCK) >= self.submitted_at + GRACE_SECONDS:
                raise
            return JobStatus(execution_id=self.execution_id, status="pending")
        status = object_in(reply, JobStatus, "the status of a job")
        status.execution_id = status.execution_id or self.execution_id
        return status

    def _timed_out(self, timeout: float, heard: str) -> APITimeoutError:
        return APITimeoutError(
            f"the job {self.execution_id} has not ended within {timeout:g} s ({heard}); wait again, or later and "
            f"anywhere with flow.job({self.execution_id!r}).wait()",
            code="DEADLINE_CLIENT",
            execution_id=self.execution_id,
        )
