"""Many runs at once: recorded in pipelined trips, each batch before its messages are sent, which go together, too."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from celery import Celery

from ..errors import NoukaiWorkerError, StoreUnavailable
from ..runs import RunStore, shared
from ..runs.answers import Created
from ..settings import Settings, current
from . import dispatch, rabbitmq, trains
from .dispatch import Submission

logger = logging.getLogger(__name__)

_RUNS = 200
_BYTES = 4_000_000
"""Of one batch: what is held in memory twice, and what Redis works on without a pause."""


def submit_all(app: Celery, submissions: Sequence[Submission]) -> list[Created | NoukaiWorkerError]:
    """Record the runs and send their messages, as `dispatch.submit` does; what that would raise is returned, each in its place.

    When the store is gone, the rest is not tried: a StoreUnavailable stands for each.
    """
    settings = current()
    store = shared(settings.redis_url)
    told: list[Created | NoukaiWorkerError] = []
    for batch in _batches(submissions):
        created = store.perform_all([dispatch.record(submission, settings) for submission in batch])
        told += created
        new = [one for one, its in zip(batch, created, strict=True) if isinstance(its, Created) and its.new]
        _send(app, store, settings, [one for one in new if not one.delay])
        if all(isinstance(its, StoreUnavailable) for its in created):
            return told + [created[0]] * (len(submissions) - len(told))
    return told


def _batches(submissions: Sequence[Submission]) -> Iterator[list[Submission]]:
    batch: list[Submission] = []
    size = 0
    for submission in submissions:
        length = len(submission.request.json_bytes())
        if batch and (len(batch) == _RUNS or size + length > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(submission)
        size += length
    if batch:
        yield batch


def _send(app: Celery, store: RunStore, settings: Settings, recorded: list[Submission]) -> None:
    if not recorded:
        return
    if rabbitmq.spoken_by(app) or not trains.possible(app):  # each is confirmed, has a parent, or an event
        for one in recorded:
            dispatch.forward(app, one)
        return
    try:
        go = _called(app, store, settings, recorded)
        trains.together(app, lambda producer: _publish(trains.Train(app, producer), go))
    except Exception as error:  # noqa: BLE001 - whatever the broker's client raises: the runs are recorded, and have deadlines
        logger.warning(
            "%d runs are recorded; messages that are missing will be sent by workers (%s)", len(recorded), error
        )


def _called(app: Celery, store: RunStore, settings: Settings, recorded: list[Submission]) -> list[Submission]:
    """Those to be sent now: without a tenant, or called by their gate. What else a gate calls is sent here."""
    go = [one for one in recorded if one.request.tenant is None]
    waiting = {one.run_id: one for one in recorded if one.request.tenant is not None}
    if not waiting:
        return go
    enter = [dispatch.entering(one.run_id, one.request, settings, again=False) for one in waiting.values()]
    for run_id, called in zip(waiting, store.perform_all(enter), strict=True):
        if isinstance(called, NoukaiWorkerError):
            logger.warning("run %s is recorded; its message will be sent by a worker (%s)", run_id, called)
            continue
        for each in (run_id,) if called is None else called:
            if each in waiting:
                go.append(waiting[each])
            else:
                dispatch.call(app, store, each, settings)
    return go


def _publish(train: trains.Train, submissions: list[Submission]) -> None:
    for one in submissions:
        name, options = dispatch.message_of(one)
        train.add(name, *dispatch.arguments(one.request), one.run_id, options)
