"""From a request to a message, for the first time and again: records the run, then sends it; and tells Celery how a run ended."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from celery import Celery, states
from celery.app.task import Context
from celery.backends.base import DisabledBackend
from kombu import Producer
from kombu.utils import json
from kombu.utils.functional import maybe_list

from ..errors import InvalidRequest, RunCancelled, RunFailed
from ..runs import RunRequest, RunStore, operations, shared
from ..runs.answers import Cancelled, Created, Ended, Unsent
from ..runs.operations import Operation
from ..settings import Settings, current
from . import rabbitmq

logger = logging.getLogger(__name__)

RECORDED = "noukai_recorded"
"""A message header: the sender has recorded the run. A message without it (`send_task` by name) is recorded by its worker."""

AGAIN = "noukai_again"
"""A message header: not the first message of its run."""

_NAMESPACE = uuid.UUID("6f2d1a54-3c0f-5b6e-9a57-0c5d0f8a7e11")
_LONGEST_KEY = 255
_RETRIED = {"retry": True, "retry_policy": {"max_retries": 2, "interval_start": 0.0, "interval_step": 0.2}}


class Submission(NamedTuple):
    """A run that is to be recorded and sent."""

    run_id: str
    request: RunRequest
    delay: float
    """Seconds until it is due; 0 for at once."""
    options: Mapping[str, Any]
    """Celery's options for its messages."""


def run_id_of(key: object) -> str:
    """A new run id; the same one for the same idempotency key. Raises InvalidRequest."""
    if key is None:
        return str(uuid.uuid4())
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidRequest(f"an idempotency key has 1 to {_LONGEST_KEY} characters, as text")
    return str(uuid.uuid5(_NAMESPACE, key))


def record(submission: Submission, settings: Settings) -> Operation[Created]:
    """The write that makes the run. Raises IdempotencyConflict, RunExpired."""
    return operations.create(
        submission.run_id,
        submission.request,
        token=secrets.token_urlsafe(24),
        retention=settings.retention,
        failed_retention=settings.failed_retention,
        pickup=settings.pickup,
        max_attempts=settings.max_attempts,
        max_age=settings.max_age,
        max_entries=settings.log_max_entries,
        delay=submission.delay,
        dispatch=json.dumps(dict(submission.options)) if submission.options else "{}",
    )


def submit(app: Celery, submission: Submission) -> Created:
    """Record the run, then send its message, unless the run is there already, is not due, or is to wait for its turn.

    If the broker does not answer, a sweeper sends the message; the run is accepted all the same. Raises StoreUnavailable,
    IdempotencyConflict, RunExpired.
    """
    created = record_now(submission)
    if created.new and not submission.delay:
        forward(app, submission)
    return created


def forward(app: Celery, submission: Submission) -> None:
    """Send a recorded run's first message, now or when it is its turn. If the broker does not answer, a sweeper sends it."""
    with _left_to_a_sweeper(submission.run_id):
        _forward(app, submission.run_id, submission.request, submission.options, first=True)


def message_of(submission: Submission) -> tuple[str, dict[str, Any]]:
    """The name of the task, and Celery's options, of a recorded run's first message."""
    options = submission.options
    return _task_name(submission.request), {**options, "headers": {**(options.get("headers") or {}), RECORDED: True}}


def record_now(submission: Submission) -> Created:
    """Write the run. Raises StoreUnavailable, and what `record` raises."""
    settings = current()
    return shared(settings.redis_url).perform(record(submission, settings))


def arguments(request: RunRequest) -> tuple[tuple[str], dict[str, Any]]:
    """The arguments of the task that make this request."""
    kwargs = request.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"flow", "mode"})
    return (request.flow,), kwargs


def send(app: Celery, run_id: str, request: RunRequest, dispatch: str) -> None:
    """Send a recorded run's message again, with the options of the first time; not of one that waits, or has to, for its turn."""
    _forward(app, run_id, request, json.loads(dispatch), first=False)


def publish(app: Celery, unsent: Unsent) -> None:
    """Send the message of a run whose turn it is."""
    _publish(app, unsent.run_id, unsent.request, json.loads(unsent.dispatch), first=False)


def go_on(app: Celery, unsent: Unsent) -> None:
    """Send the message of a run that was resumed or redriven. If the broker does not answer, a sweeper sends it."""
    with _left_to_a_sweeper(unsent.run_id):
        send(app, unsent.run_id, unsent.request, unsent.dispatch)


def forget_end(app: Celery, unsent: Unsent) -> None:
    """Have Celery forget how a run ended that has not ended after all: `AsyncResult(id).get()` waits again.

    The same for the rest of its chain, which Celery has recorded as failed with it (`Backend.mark_as_failure`).
    """
    if isinstance(app.backend, DisabledBackend):
        return
    chain = json.loads(unsent.dispatch).get("chain") or ()
    links = [link.get("options", {}).get("task_id") for link in chain]
    # `get` of a result that was there already leaves a copy with the process, which the next `get` would be given.
    copies = getattr(app.backend, "_pending_messages", None)
    try:
        for task_id in filter(None, [unsent.run_id, *links]):
            app.backend.forget(task_id)
            while copies is not None and copies.take(task_id, None) is not None:
                pass
    except Exception as error:  # noqa: BLE001 - whatever the backend's client raises; a result replaces the old end anyway
        logger.warning("run %s is redriven; Celery still has its old end (%s)", unsent.run_id, error)


@contextmanager
def _left_to_a_sweeper(run_id: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever the broker's client raises: the run is recorded, and has a deadline
        logger.warning("run %s is recorded; its message will be sent by a worker (%s)", run_id, error)


def end(app: Celery, ended: Ended) -> None:
    """Tell Celery that a run failed without a worker: `AsyncResult(id).get()`, error links and chords end, too."""
    failure = RunFailed(ended.run_id, ended.failure.code, ended.failure.message, ended.attempts)
    app.backend.mark_as_failure(ended.run_id, failure, request=_context(ended.run_id, ended.mode, ended.dispatch))


def end_cancelled(app: Celery, cancelled: Cancelled) -> None:
    """The same for a run that was cancelled; its own record says so already, so trouble here is only logged."""
    run_id = cancelled.run_id
    try:
        request = _context(run_id, cancelled.mode, cancelled.dispatch)
        app.backend.mark_as_revoked(run_id, reason=str(RunCancelled(run_id)), request=request, state=states.REVOKED)
    except Exception as error:  # noqa: BLE001 - whatever the backend's client raises
        logger.warning("run %s is cancelled; Celery could not be told (%s)", run_id, error)


def stop_worker(app: Celery, run_id: str) -> None:
    """Have the worker that holds a run stop at once; without this it would learn of it when it next writes, or renews its lease."""
    try:
        with app.connection_for_write() as connection:
            app.control.revoke(run_id, terminate=True, connection=connection)
    except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
        logger.info("run %s is cancelled; its worker will find out by itself (%s)", run_id, error)


def _context(run_id: str, mode: str, stored: str) -> Context:
    """The request that a worker would have had, for what Celery does at the end of a task."""
    options = json.loads(stored)
    return Context(
        id=run_id,
        task=f"noukai.{mode}",
        errbacks=maybe_list(options.get("link_error")) or [],
        group=options.get("group_id"),
        **{name: options.get(name) for name in ("chain", "chord", "group_index", "parent_id", "root_id")},
    )


def lifetime(settings: Settings) -> float:
    """How long a waiting room is kept after the last run came to it, in seconds: longer than any run may wait."""
    return settings.retention + settings.max_age


def _forward(app: Celery, run_id: str, request: RunRequest, options: Mapping[str, Any], *, first: bool) -> None:
    """Send the message now, or when it is the run's turn. Whoever brings a run calls the one whose turn it is."""
    if first and request.tenant is None:
        _publish(app, run_id, request, options)
        return
    settings = current()
    store = shared(settings.redis_url)
    called = store.perform(entering(run_id, request, settings, again=not first))
    for one in (run_id,) if called is None else called:
        if one == run_id:
            _publish(app, run_id, request, options, first=first)
        else:
            call(app, store, one, settings)


def entering(run_id: str, request: RunRequest, settings: Settings, *, again: bool) -> Operation[tuple[str, ...] | None]:
    """The write that has a run wait for its turn."""
    gate = operations.Gate(request.credential, operations.room_of(request.mode), lifetime(settings))
    return operations.enter(gate, run_id, tenant=request.tenant, again=again, pickup=settings.pickup)


def call(app: Celery, store: RunStore, run_id: str, settings: Settings) -> None:
    """Send the message of a waiting run that was called, unless it is no longer queued."""
    unsent = store.perform(operations.turn(run_id, pickup=settings.pickup))
    if unsent:
        publish(app, unsent)


def _task_name(request: RunRequest) -> str:
    return f"noukai.{request.mode}"


def _publish(app: Celery, run_id: str, request: RunRequest, options: Mapping[str, Any], *, first: bool = True) -> None:
    task = app.tasks[_task_name(request)]
    headers = {**(options.get("headers") or {}), RECORDED: True} | ({} if first else {AGAIN: True})
    options = {"add_to_parent": first, **options, "headers": headers}
    if not rabbitmq.spoken_by(app):
        task.publish(*arguments(request), run_id, {**_RETRIED, **options})
        return

    def send(producer: Producer, confirm_timeout: float) -> None:
        confirmed = {"producer": producer, "confirm_timeout": confirm_timeout, "retry": False}
        task.publish(*arguments(request), run_id, {**options, **confirmed})

    rabbitmq.publish(app, send)
