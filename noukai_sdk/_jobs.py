"""This room holds queued runs as a caller sees them."""

from __future__ import annotations

from typing import Any

from noukai_sdk._config import limit, seconds
from noukai_sdk._drive import arun, run
from noukai_sdk._drive.effects import AsyncConnection, SyncConnection
from noukai_sdk._models.jobs import JobAccepted, JobStatus
from noukai_sdk._protocol.jobs import Polls
from noukai_sdk._transport import Connection


class _Job:
    def __init__(
        self,
        connection: Connection[Any],
        polls: Polls,
        accepted: JobAccepted | None = None,
        session_id: str | None = None,
    ) -> None:
        self._connection = connection
        self._polls = polls
        self.accepted = accepted
        self.session_id = session_id

    @property
    def execution_id(self) -> str:
        """What to store, to come back with `flow.job(execution_id)`."""
        return self._polls.execution_id

    @property
    def flow_id(self) -> str | None:
        """The flow's id; None for a job that was re-attached."""
        return None if self.accepted is None else self.accepted.flow_id

    @property
    def status(self) -> str | None:
        """What the service said when it took the run, usually "started"; None for a job that was re-attached."""
        return None if self.accepted is None else self.accepted.status

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.execution_id!r})"


class Job(_Job):
    """A queued run, as `Flow.execute_async` returns it, or `Flow.job` by its id.

    `accepted` is the service's receipt, and `session_id` the session in force, if this process handed the run in.
    """

    _connection: SyncConnection

    def poll(self, *, timeout: float | None = None) -> JobStatus:
        """Where the run stands. `timeout` is in seconds and bounds silence. Raises NoukaiError.

        A run that was handed in less than 5 s ago, and is not known yet, is "pending".
        """
        return run(self._polls.once(limit(timeout)), self._connection)

    def wait(self, *, timeout: float = 300.0, poll_interval: float = 2.0) -> JobStatus:
        """Poll until the run has ended: completed, failed (which is returned, not raised) or another final status.

        Polls at once, every `poll_interval` seconds, and a last time at the deadline, `timeout` seconds from now;
        `timeout=0` polls once. Connections that fail, 429 (its Retry-After is respected) and 5xx are waited out until
        then. Raises APITimeoutError at the deadline, which ends no run, and NoukaiError for what will not pass.
        """
        conversation = self._polls.until_ended(seconds(timeout, "timeout"), seconds(poll_interval, "poll_interval"))
        return run(conversation, self._connection)


class AsyncJob(_Job):
    """The same for `AsyncFlow`."""

    _connection: AsyncConnection

    async def poll(self, *, timeout: float | None = None) -> JobStatus:  # noqa: ASYNC109 -- the published SDK's name
        """As `Job.poll`."""
        return await arun(self._polls.once(limit(timeout)), self._connection)

    async def wait(self, *, timeout: float = 300.0, poll_interval: float = 2.0) -> JobStatus:  # noqa: ASYNC109 -- likewise
        """As `Job.wait`."""
        conversation = self._polls.until_ended(seconds(timeout, "timeout"), seconds(poll_interval, "poll_interval"))
        return await arun(conversation, self._connection)
