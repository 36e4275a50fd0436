"""What Redis' answers to operations say, once they are read.

Named tuples: a frozen dataclass takes eight times as long to declare, in each start of each process, and three times to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .entry import Entry
from .model import Checkpoint, Failure, Lease, Reply, State
from .request import RunRequest


class Created(NamedTuple):
    """The answer to `create`. `new` is False if a run with this id and this request was there already."""

    run_id: str
    token: str
    new: bool
    state: State
    position: int


class Claimed(NamedTuple):
    """The answer to `claim` when the run is ours: the lease, what to do, and where to go on."""

    lease: Lease
    request: RunRequest
    checkpoint: Checkpoint
    attempts: int
    """Attempts that count against the run's limit, this one included."""
    dispatch: str
    """What `create` was given for sending the run's message again."""
    unsettled: bool
    """An earlier attempt's paid call may have been carried out, and nobody has found out yet (law 6); never for `stream`."""
    life: int
    """How often the run was redriven after all its calls were settled: executions of an earlier life do not count."""
    reply: Reply | None
    """What the flow has waited for, if it is to go on with that."""


class Refused(NamedTuple):
    """The answer to `claim` when it is not: somebody works on the run, it has ended, or it is not due."""

    state: State


class Advanced(NamedTuple):
    """The answer to `advance`: written, and the log's new last seq."""

    position: int


class Fenced(NamedTuple):
    """The answer to `advance` when the lease is no longer ours: nothing was written, stop working (law 4)."""

    state: State | None
    """What the run is now; None if it is gone."""


class Due(NamedTuple):
    """Overdue run ids, the seconds until the next deadline (None if there is none), and whether to be patient (`overdue`)."""

    run_ids: tuple[str, ...]
    next_in: float | None
    patient: bool


class Unsent(NamedTuple):
    """The answer to `overdue`, `resume` and `redrive`: a message must be sent (again)."""

    run_id: str
    request: RunRequest
    dispatch: str


class Ended(NamedTuple):
    """The answer to `overdue` when the run has been ended instead."""

    run_id: str
    mode: str
    failure: Failure
    attempts: int
    dispatch: str


class Cancelled(NamedTuple):
    """The answer to `cancel`: the state that the run was in, and what Celery has to be told."""

    run_id: str
    before: State
    mode: str
    dispatch: str


class Admitted(NamedTuple):
    """The answer to `admit`: whether an attempt may begin. If not, its run waits for its turn."""

    now: bool
    permit: bool
    """It has one of the credential's permits, to be renewed with the lease and given back."""
    new: bool
    """That permit is its own, not one that an earlier attempt of the run still has."""
    others: bool
    """Somebody waits: who begins, or ends, is to call the next."""


class Released(NamedTuple):
    """The answer to `release`: the runs whose turn it is, and the seconds until there is something to do again (None: never)."""

    run_ids: tuple[str, ...]
    next_in: float | None


@dataclass(frozen=True, slots=True)
class GateView:
    """A credential's gate as it stands, for the rooms of all kinds of worker together."""

    credential: str
    concurrency: int | None
    rate: float | None
    """Runs that may begin in a second."""
    paused_until: float | None
    """Unix seconds; None if it is not paused."""
    held: int
    """Permits in use; only counted where concurrency is limited."""
    waiting: dict[str, dict[str, int]]
    """How many runs wait: kind of worker → tenant → number. Runs without a tenant are under the empty text."""
    sent: dict[str, int]
    """Runs that were called and are on their way to a worker: kind of worker → number."""


class Page(NamedTuple):
    """A stretch of a log. `last` is the log's last seq at that moment, `state` the run's."""

    state: State
    last: int
    entries: tuple[Entry, ...]
