"""Every error that this package raises on purpose, in one tree.

    NoukaiWorkerError
    ├── InvalidRequest (also a ValueError)   what was asked for makes no sense; nothing was written
    │   ├── PayloadTooLarge
    │   └── PositionAhead                    `after` is ahead of the log
    ├── RunNotFound                          no such run
    │   └── RunExpired                       there was one, and its retention is over
    ├── EntriesTrimmed                       the log no longer holds what was asked for
    ├── EntryUnreadable (also a ValueError)  something in a log is not an entry
    ├── IdempotencyConflict                  one key, two different requests
    ├── EnqueuedInPart                       of many requests, some are runs now, and some are not
    ├── RunFinished                          too late: the run has ended
    ├── RunNotPaused                         nobody waits for tool results (any more)
    ├── RunNotFailed                         only what has failed can be redriven
    ├── TokenRejected                        missing or foreign read token
    ├── StoreUnavailable                     Redis does not answer
    ├── CredentialMissing                    no API key of that name in this process
    ├── ToolFailed                           raised by a tool's function: what the flow is told
    └── RunEnded                             what a run ended with, as an exception
        ├── RunFailed
        └── RunCancelled

`code` is the stable word for programs, `str(error)` the line for people. Each survives pickle and Celery's JSON: both rebuild an
exception from its class and `args`, so `args` are exactly the constructor's arguments.
"""

from __future__ import annotations

from typing import ClassVar


class NoukaiWorkerError(Exception):
    """The root of the tree. `args` are the constructor's arguments; `str()` is one line that names the remedy."""

    code: ClassVar[str] = "internal_error"


class InvalidRequest(NoukaiWorkerError, ValueError):
    """A mistake in what was asked for, found before anything was written. `args`: (text,)."""

    code = "invalid_request"


class PayloadTooLarge(InvalidRequest):
    """What a run is given is over the limit. `args`: (size in bytes, limit in bytes, which part it is)."""

    code = "payload_too_large"

    def __init__(self, size: int, limit: int, part: str = "the input") -> None:
        super().__init__(size, limit, part)
        self.size, self.limit, self.part = size, limit, part

    def __str__(self) -> str:
        remedy = "pass a URL as an attachment" if self.part == "the input" else "send less"
        return (
            f"{self.part}: {self.size:,} bytes, the limit is {self.limit:,}: "
            f"{remedy}, or raise NOUKAI_WORKER_MAX_INPUT_BYTES"
        )


class PositionAhead(InvalidRequest):
    """A reader claims to have read what was never written. `args`: (run id, after, last seq of the log)."""

    code = "position_ahead"

    def __init__(self, run_id: str, after: int, last: int) -> None:
        super().__init__(run_id, after, last)
        self.run_id, self.after, self.last = run_id, after, last

    def __str__(self) -> str:
        return f"run {self.run_id} has {self.last} entries, there is nothing after {self.after}: read from 0"


class RunNotFound(NoukaiWorkerError, LookupError):
    """No run has this id. `args`: (run id,)."""

    code = "run_not_found"

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return f"no run {self.run_id}: check the id, and that NOUKAI_REDIS_URL is the one it was enqueued with"


class RunExpired(RunNotFound):
    """The run existed; its log is gone because the retention is over. `args`: (run id,)."""

    code = "run_expired"

    def __str__(self) -> str:
        return (
            f"run {self.run_id} has expired, its log is gone: enqueue with a new idempotency key, "
            "or keep runs longer with NOUKAI_WORKER_RETENTION"
        )


class EntriesTrimmed(NoukaiWorkerError):
    """Entries that a reader has not seen were trimmed from a long log. `args`: (run id, after, first kept seq)."""

    code = "entries_trimmed"

    def __init__(self, run_id: str, after: int, first: int) -> None:
        super().__init__(run_id, after, first)
        self.run_id, self.after, self.first = run_id, after, first

    def __str__(self) -> str:
        return (
            f"entries {self.after + 1} to {self.first - 1} of run {self.run_id} were trimmed: "
            f"go on with after={self.first - 1}, or raise NOUKAI_WORKER_LOG_MAX_ENTRIES"
        )


class EntryUnreadable(NoukaiWorkerError, ValueError):
    """Something in a run's log, or on its channel, is not an entry of ours. `args`: (what it begins with,)."""

    code = "entry_unreadable"

    def __init__(self, begins: str) -> None:
        super().__init__(begins)
        self.begins = begins

    def __str__(self) -> str:
        return f"not an entry: {self.begins!r}; somebody else writes to keys that begin with noukai:"


class IdempotencyConflict(NoukaiWorkerError):
    """The idempotency key belongs to a run with another request. `args`: (run id,)."""

    code = "idempotency_conflict"

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return (
            f"this idempotency key or task id was used for a different request (run {self.run_id}): use one per request"
        )


class EnqueuedInPart(NoukaiWorkerError):
    """Some of many requests were recorded, and will run; others were not, or nobody knows. `args`: (run ids, reasons).

    Both have a member for each request, in order: the id of its run, or None; None, or why there is no run. `__cause__` is the
    first of those errors.
    """

    code = "enqueued_in_part"

    def __init__(self, run_ids: list[str | None], reasons: list[str | None]) -> None:
        super().__init__(run_ids, reasons)
        self.run_ids, self.reasons = run_ids, reasons

    def __str__(self) -> str:
        place, reason = next((n, reason) for n, reason in enumerate(self.reasons) if reason is not None)
        known = sum(run_id is not None for run_id in self.run_ids)
        return (
            f"{known:,} of {len(self.run_ids):,} requests are recorded and will run; requests[{place}] is the first that is not: "
            f"{reason} (what has an idempotency key may be enqueued again)"
        )


class RunFinished(NoukaiWorkerError):
    """The run has ended, so the order comes too late. `args`: (run id, its state)."""

    code = "run_finished"

    def __init__(self, run_id: str, state: str) -> None:
        super().__init__(run_id, state)
        self.run_id, self.state = run_id, state

    def __str__(self) -> str:
        return f"run {self.run_id} is already {self.state}; enqueue a new one"


class RunNotPaused(NoukaiWorkerError):
    """Tool results came for a run that does not wait for any, or not any more. `args`: (run id, its state)."""

    code = "run_not_paused"

    def __init__(self, run_id: str, state: str) -> None:
        super().__init__(run_id, state)
        self.run_id, self.state = run_id, state

    def __str__(self) -> str:
        return f"run {self.run_id} is {self.state} and waits for no tool results: each pause is answered once"


class RunNotFailed(NoukaiWorkerError):
    """Only a failed run can be redriven. `args`: (run id, its state)."""

    code = "run_not_failed"

    def __init__(self, run_id: str, state: str) -> None:
        super().__init__(run_id, state)
        self.run_id, self.state = run_id, state

    def __str__(self) -> str:
        return f"run {self.run_id} is {self.state}: only a failed run can be redriven"


class TokenRejected(NoukaiWorkerError):
    """A run is read with a token, and this is not it. `args`: (run id,)."""

    code = "token_rejected"

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return f"reading run {self.run_id} needs its token: send the one that enqueue returned"


class StoreUnavailable(NoukaiWorkerError):
    """Redis cannot be reached. `args`: (address without secrets, reason)."""

    code = "store_unavailable"

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.address, self.reason = address, reason

    def __str__(self) -> str:
        return f"no Redis at {self.address} ({self.reason}): start one, or set NOUKAI_REDIS_URL"


class CredentialMissing(NoukaiWorkerError):
    """The worker holds no API key of this name. `args`: (name,)."""

    code = "credential_missing"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        remedy = "NOUKAI_API_KEY" if self.name == "default" else "NOUKAI_WORKER_CREDENTIALS"
        return f"no API key for the credential {self.name!r}: set {remedy} where the worker runs"


class ToolFailed(NoukaiWorkerError):
    """For functions that answer tool calls: what the flow is told instead of a result. `args`: (text,)."""

    code = "tool_failed"


class RunEnded(NoukaiWorkerError):
    """A run ended without a result. `args` begin with the run id."""

    run_id: str


class RunFailed(RunEnded):
    """The run failed for good. `args`: (run id, code, message, attempts); `failure` is the run's code."""

    code = "run_failed"

    def __init__(self, run_id: str, failure: str, message: str, attempts: int) -> None:
        super().__init__(run_id, failure, message, attempts)
        self.run_id, self.failure, self.message, self.attempts = run_id, failure, message, attempts

    def __str__(self) -> str:
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"run {self.run_id} failed after {tries}: {self.failure}: {self.message}"


class RunCancelled(RunEnded):
    """The run was cancelled. `args`: (run id,)."""

    code = "run_cancelled"

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return f"run {self.run_id} was cancelled"
