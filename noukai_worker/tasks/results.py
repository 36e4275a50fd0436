"""Tells Celery of a success with the writer's trip, if its results are kept in the Redis that has the runs.

Celery's own way blocks a thread for each result. What a client of Celery's sees is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import states
from celery.backends.redis import RedisBackend

from ..runs import operations
from ..runs.operations import Operation
from ..settings import current
from .backend import Results, success

if TYPE_CHECKING:
    from celery import Task


def told(task: Task, result: Any) -> Operation[None] | None:
    """The write that ends the running task with `result`; None if Celery must say it: more hangs on it, or it goes elsewhere."""
    backend, request = task.app.backend, task.request
    if type(backend) not in (RedisBackend, Results) or backend.url != current().redis_url or not backend.expires:
        return None
    ignored = task.ignore_result if request.ignore_result is None else request.ignore_result
    if ignored or request.chord or request.chain or request.callbacks:
        return None
    text = success(backend, request.id, backend.encode_result(result, states.SUCCESS), request)
    key = backend.get_key_for_task(request.id)
    return operations.tell(key.decode(), text.encode() if isinstance(text, str) else text, lifetime=backend.expires)
