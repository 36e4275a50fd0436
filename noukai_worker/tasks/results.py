"""Tells Celery of a success with the writer's trip, if its results are kept in the Redis that has the runs.

Celery's own way is a thread, a look at what is there and a transaction for each result: as much work as everything else that
Redis is told of a run. What a client of Celery's sees is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import states
from celery.backends.redis import RedisBackend

from ..runs import operations
from ..runs.operations import Operation
from ..settings import current

if TYPE_CHECKING:
    from celery import Task


def told(task: Task, result: Any) -> Operation[None] | None:
    """The write that ends the running task with `result`; None if Celery must say it: more hangs on it, or it goes elsewhere."""
    backend, request = task.app.backend, task.request
    if type(backend) is not RedisBackend or backend.url != current().redis_url or not backend.expires:
        return None
    ignored = task.ignore_result if request.ignore_result is None else request.ignore_result
    if ignored or request.chord or request.chain or request.callbacks:
        return None
    # What Celery's KeyValueStoreBackend._store_result does (5.6), without a look at an earlier result: a run ends once.
    value = backend.encode_result(result, states.SUCCESS)
    meta = backend._get_result_meta(result=value, state=states.SUCCESS, traceback=None, request=request)
    text = backend.encode(meta | {"task_id": request.id})
    key = backend.get_key_for_task(request.id)
    return operations.tell(key.decode(), text.encode() if isinstance(text, str) else text, lifetime=backend.expires)
