"""Failed runs, for those who operate the workers: which there are, and why; and one of them, or many, once more."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from .client import Run
from .errors import InvalidRequest, StoreUnavailable
from .runs import RunRequest, RunView, operations, shared
from .settings import current
from .tasks import app as apps
from .tasks import dispatch

logger = logging.getLogger(__name__)

Since = datetime | float | str
"""A moment: a datetime with a time zone, Unix seconds, or text (RFC 3339, or how long ago: `90s`, `30m`, `2h`, `7d`)."""

_PAGE = 100
_AGO = re.compile(r"(\d{1,9}(?:\.\d+)?)([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of one run of many."""

    run_id: str
    error: Exception | None = None
    """Why it was not redriven; None if it was."""


def dead(
    limit: int | None = 50, *, flow: str | None = None, code: str | None = None, since: Since | None = None
) -> list[RunView]:
    """The runs that failed and are kept, those that failed last first, at most `limit` (None: all); each tells its `failure`.

    flow: only runs of `org/project/slug`. code: only those that failed with it. since: only those that failed then or later (see
    `Since`). Raises InvalidRequest, StoreUnavailable.
    """
    return list(_dead(limit, flow, code, since))


async def adead(
    limit: int | None = 50, *, flow: str | None = None, code: str | None = None, since: Since | None = None
) -> list[RunView]:
    """`dead`, for event loops."""
    return await asyncio.to_thread(dead, limit, flow=flow, code=code, since=since)


def redrive(run_id: str) -> Run:
    """Try a failed run once more: the same id and log, the next attempt, from its checkpoint; finished steps are not paid again.

    All its attempts and its age count anew. Celery forgets how it ended, so a new `AsyncResult(id).get()` waits for the new end.
    Returns the run; reading on from its position begins with the entry that took the place of its end. Raises RunNotFound,
    RunExpired, RunNotFailed, StoreUnavailable.
    """
    store, app = shared(current().redis_url), apps.current()
    view = store.perform(operations.show(run_id))
    unsent = store.perform(operations.redrive(run_id, pickup=current().pickup))
    dispatch.forget_end(app, unsent)
    dispatch.go_on(app, unsent)
    return Run(run_id, view.token, new=False, position=view.position - 1)


async def aredrive(run_id: str) -> Run:
    """`redrive`, for event loops."""
    return await asyncio.to_thread(redrive, run_id)


def redrive_each(run_ids: Iterable[str]) -> Iterator[Redriven]:
    """Redrive these runs one by one, as this is iterated; one that is refused does not stop the others.

    Raises StoreUnavailable: then the runs that were not told yet are as they were.
    """
    for run_id in run_ids:
        try:
            redrive(run_id)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one run is not wrong with the next
            logger.info("run %s was not redriven: %s", run_id, error)
            yield Redriven(run_id, error)
        else:
            yield Redriven(run_id)


def redrive_all(
    limit: int | None = None, *, flow: str | None = None, code: str | None = None, since: Since | None = None
) -> list[Redriven]:
    """Redrive the runs that `dead` lists, each once, at most `limit`; what became of each.

    Raises InvalidRequest, StoreUnavailable: then call again, for what was redriven is not dead any more.
    """
    return list(redrive_each([view.id for view in _dead(limit, flow, code, since)]))


async def aredrive_all(
    limit: int | None = None, *, flow: str | None = None, code: str | None = None, since: Since | None = None
) -> list[Redriven]:
    """`redrive_all`, for event loops."""
    return await asyncio.to_thread(redrive_all, limit, flow=flow, code=code, since=since)


def moment(since: object) -> float:
    """What a `Since` means, in Unix seconds; 0 for None. Raises InvalidRequest."""
    if since is None:
        return 0.0
    if isinstance(since, str):
        return _told(since.strip())
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise InvalidRequest("since: give the time a zone, as in 2026-11-24T10:00Z")
        return max(0.0, since.timestamp())
    if isinstance(since, bool) or not isinstance(since, int | float) or not math.isfinite(since) or since < 0:
        raise InvalidRequest("since: pass a datetime, Unix seconds, or text like 2h or 2026-11-24T10:00Z")
    return float(since)


def _told(text: str) -> float:
    if ago := _AGO.fullmatch(text):
        return max(0.0, time.time() - float(ago[1]) * _UNITS[ago[2]])
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text, re.ASCII):
        return float(text)
    try:
        return moment(datetime.fromisoformat(text))
    except InvalidRequest:
        raise
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"since: {text!r} is no moment: write how long ago (90s, 30m, 2h, 7d) or when (2026-11-24T10:00Z)"
        ) from None


def _dead(limit: int | None, flow: str | None, code: str | None, since: Since | None) -> Iterator[RunView]:
    """See `dead`; what is asked is checked at once."""
    if flow is not None:
        RunRequest.build(flow=flow)
    return islice(_failures(flow, code, moment(since)), _most(limit))


def _most(limit: object) -> int | None:
    if limit is None or (isinstance(limit, int) and not isinstance(limit, bool) and limit > 0):
        return limit
    raise InvalidRequest("limit is a whole number from 1")


def _failures(flow: str | None, code: str | None, since: float) -> Iterator[RunView]:
    store = shared(current().redis_url)
    seen: set[str] = set()
    offset = 0
    while ids := store.perform(operations.dead(since=since, offset=offset, limit=_PAGE)):
        offset += len(ids)
        for run_id in ids:
            # Runs that fail meanwhile push those that are listed already into the next page.
            view = None if run_id in seen else store.perform(operations.peek(run_id))
            seen.add(run_id)
            if view is None or view.failure is None:
                continue
            if flow in (None, view.flow) and code in (None, view.failure.code):
                yield view
