"""Celery's Redis result backend with fewer words: a success is one command, and nobody is subscribed who has not asked.

Celery looks for an earlier result before it writes one, writes and publishes in a transaction, and subscribes whoever enqueues to
each result. A run ends once (law 2), and `AsyncResult.get()` subscribes by itself. Keys and values are Celery's.
"""

from __future__ import annotations

from typing import Any

from celery import states
from celery.backends.redis import RedisBackend

from .. import pool

_TELL = """
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[1])
"""


class Results(RedisBackend):  # type: ignore[misc] # Celery has no types
    """For results on one Redis server."""

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """A task was sent: nothing to do."""

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **others: Any
    ) -> Any:
        if state != states.SUCCESS:
            return super()._store_result(task_id, result, state, traceback, request=request, **others)
        if pool.has_recorded():
            return result
        self.set(self.get_key_for_task(task_id), success(self, task_id, result, request))
        return result

    def _set(self, key: Any, value: Any) -> None:
        if not self.expires:
            super()._set(key, value)
            return
        script = self.__dict__.get("_tell")
        if script is None:
            script = self._tell = self.client.register_script(_TELL)
        script(keys=(key,), args=(value, self.expires))


def success(backend: RedisBackend, task_id: str, result: Any, request: Any) -> Any:
    """The value that says that a task has ended with an encoded `result`, as Celery's KeyValueStoreBackend writes it (5.6)."""
    meta = backend._get_result_meta(result=result, state=states.SUCCESS, traceback=None, request=request)
    return backend.encode(meta | {"task_id": task_id})
