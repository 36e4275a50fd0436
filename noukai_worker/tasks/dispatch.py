"""From a request to a message, for the first time and again: records the run, then sends it; and tells Celery how a run ended."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from celery import Celery, states
from kombu.exceptions import OperationalError
from kombu.utils import json

from ..errors import InvalidRequest, RunCancelled, RunFailed
from ..runs import RunRequest, operations, shared
from ..runs.operations import Created, Ended, Operation
from ..settings import Settings, current

logger = logging.getLogger(__name__)

RECORDED = "noukai_recorded"
"""A message header: the sender has recorded the run. A message without it (`send_task` by name) is recorded by its worker."""

_NAMESPACE = uuid.UUID("6f2d1a54-3c0f-5b6e-9a57-0c5d0f8a7e11")
_LONGEST_KEY = 255
_PUBLISH = {"retry": True, "retry_policy": {"max_retries": 2, "interval_start": 0.0, "interval_step": 0.2}}


@dataclass(frozen=True, slots=True)
class Submission:
    """A run that is to be recorded and sent."""

    run_id: str
    request: RunRequest
    delay: float
    """Seconds until it is due; 0 for at once."""
    options: Mapping[str, Any]
    """Celery's options for its messages."""


def run_id_of(key: str | None) -> str:
    """A new run id; the same one for the same idempotency key. Raises InvalidRequest."""
    if key is None:
        return str(uuid.uuid4())
    if not key or len(key) > _LONGEST_KEY:
        raise InvalidRequest(f"an idempotency key has 1 to {_LONGEST_KEY} characters")
    return str(uuid.uuid5(_NAMESPACE, key))


def record(submission: Submission, settings: Settings) -> Operation[Created]:
    """The write that makes the run. Raises IdempotencyConflict, RunExpired."""
    return operations.create(
        submission.run_id,
        submission.request,
        token=secrets.token_urlsafe(24),
        retention=settings.retention,
        pickup=settings.pickup,
        max_attempts=settings.max_attempts,
        max_age=settings.max_age,
        max_entries=settings.log_max_entries,
        delay=submission.delay,
        dispatch=json.dumps(dict(submission.options)),
    )


def submit(app: Celery, submission: Submission) -> Created:
    """Record the run, then send its message, unless the run is there already or is not due.

    If the broker does not answer, a sweeper sends the message; the run is accepted all the same. Raises StoreUnavailable,
    IdempotencyConflict, RunExpired.
    """
    settings = current()
    created = shared(settings.redis_url).perform(record(submission, settings))
    if created.new and not submission.delay:
        try:
            _publish(app, submission.run_id, submission.request, submission.options)
        except (OperationalError, OSError) as error:
            logger.warning("run %s is recorded; its message will be sent by a worker (%s)", submission.run_id, error)
    return created


def send(app: Celery, run_id: str, request: RunRequest, dispatch: str) -> None:
    """Send a recorded run's message again, with the options of the first time."""
    _publish(app, run_id, request, json.loads(dispatch))


def end(app: Celery, ended: Ended) -> None:
    """Tell Celery that a run failed without a worker, so that `AsyncResult(id).get()` ends, too."""
    failure = RunFailed(ended.run_id, ended.failure.code, ended.failure.message, ended.attempts)
    app.backend.mark_as_failure(ended.run_id, failure)


def end_cancelled(app: Celery, run_id: str) -> None:
    """Tell Celery that a run was cancelled; the run's own record says so already."""
    try:
        app.backend.mark_as_revoked(run_id, reason=str(RunCancelled(run_id)), state=states.REVOKED)
    except (OperationalError, OSError, RuntimeError) as error:  # the Redis backend raises RuntimeError when it gives up
        logger.warning("run %s is cancelled; Celery could not be told (%s)", run_id, error)


def _publish(app: Celery, run_id: str, request: RunRequest, options: Mapping[str, Any]) -> None:
    task = app.tasks[f"noukai.{request.mode}"]
    headers = {**(options.get("headers") or {}), RECORDED: True}
    kwargs = request.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"flow", "mode"})
    task.publish((request.flow,), kwargs, run_id, {**_PUBLISH, **options, "headers": headers})
