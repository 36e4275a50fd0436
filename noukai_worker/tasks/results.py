"""Tells Celery of a success in the trip that ends the run, if its results are kept in the Redis that has the runs.

Celery's own way is a trip more, which blocks a thread. What a client of Celery's sees is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery import states
from celery.backends.redis import RedisBackend

from .. import pool
from ..runs import Lease, operations, outcome
from ..runs.operations import Operation
from ..settings import current
from .backend import Results, success

if TYPE_CHECKING:
    from celery import Task


def telling(task: Task, lease: Lease, end: outcome.Outcome) -> Operation[bool] | None:
    """The write that says how the running task ends, for the same trip, behind the run's; if it was told, call `pool.recorded()`.

    None if Celery must say it by itself: more hangs on it, it goes elsewhere, or it is no success.
    """
    backend, request = task.app.backend, task.request
    if not isinstance(end, outcome.Completed) or not pool.is_ours() or type(backend) not in (RedisBackend, Results):
        return None
    if backend.url != current().redis_url or not backend.expires:
        return None
    ignored = task.ignore_result if request.ignore_result is None else request.ignore_result
    if ignored or request.chord or request.chain or request.callbacks:
        return None
    text = success(backend, request.id, backend.encode_result(end.result, states.SUCCESS), request)
    key = backend.get_key_for_task(request.id).decode()
    return operations.tell(lease, key, text.encode() if isinstance(text, str) else text, lifetime=backend.expires)
