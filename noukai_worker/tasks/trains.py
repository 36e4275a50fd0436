"""Messages that go to the broker together: Celery's own, in one trip for many where the transport can."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, TypeVar

from celery import Celery, Task
from celery.backends.redis import RedisBackend
from celery.utils.nodenames import anon_nodename
from kombu import Producer
from kombu.exceptions import BatchPublishError, OperationalError

T = TypeVar("T")

_PAUSES = (0.0, 0.2)
"""Seconds before the second and the third try. A message that came twice does no harm (law 4)."""

_COMMANDS = 500
"""Of one trip: a message on Redis is one."""

_SHOWN_AS_IT_IS = 1000
"""Characters; what is longer is Celery's to shorten (`argsrepr`)."""


def possible(app: Celery) -> bool:
    """Whether messages may go past `Task.apply_async`: what is sent within a task has a parent, an event belongs to each, and
    instrumentation that has put itself around that method (Sentry's does) wants to see them.
    """
    alone = app.current_worker_task is None and _is_celerys(Task.apply_async)
    return alone and not app.conf.task_always_eager and not app.conf.task_send_sent_event


def _is_celerys(method: object) -> bool:
    # A wrapper may bear the name and module of what it wraps, but not its globals; an object may bear even those.
    return isinstance(method, FunctionType) and method.__globals__["__name__"] == Task.__module__


def together(app: Celery, send: Callable[[Producer], T]) -> T:
    """Call `send(producer)` and return its value; what it publishes has been sent when this returns. Tried three times.

    On Redis all of it is one pipeline, sent at the end; transports that have none send each message at once. Raises what the
    broker's client raises.
    """
    for pause in _PAUSES:
        try:
            return _once(app, send)
        except (BatchPublishError, OperationalError):
            time.sleep(pause)
    return _once(app, send)


def _once(app: Celery, send: Callable[[Producer], T]) -> T:
    with app.producer_or_acquire() as producer, producer.batch(max_size=_COMMANDS):
        return send(producer)


def alone(
    app: Celery, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str, options: Mapping[str, Any]
) -> None:
    """Send one message as `Train.add` does, with `retry` and `retry_policy` as kombu knows them; it has been sent when this
    returns. Raises what the broker's client raises.
    """
    own = {key: options[key] for key in ("headers", "priority") if key in options}
    retried = {key: options[key] for key in ("retry", "retry_policy") if key in options}
    with app.producer_or_acquire() as producer:
        Train(app, producer, retried).add(name, args, kwargs, task_id, own)


class Train:
    """Sends messages one after another as `Task.apply_async` does, with Celery's signals; but no result is made."""

    def __init__(self, app: Celery, producer: Producer, retried: Mapping[str, Any] | None = None) -> None:
        self._app, self._producer = app, producer
        self._retried = {"retry": False} if retried is None else retried
        # What Celery looks up, or makes, for each message anew.
        self._tasks, self._make, self._send = app.tasks, app.amqp.create_task_message, app.amqp.send_task_message
        self._reply_to, self._origin = app.thread_oid, anon_nodename()
        self._on_call = None if isinstance(app.backend, RedisBackend) else app.backend.on_task_call
        """A Redis backend's `get` subscribes by itself, and nobody else needs to."""
        self._routes: dict[str, dict[str, Any]] = {}
        self._declared: set[str] = set()

    def add(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str, options: Mapping[str, Any]
    ) -> None:
        """Send one message. `options` are those of `apply_async` that Celery's amqp knows."""
        task = self._tasks[name]
        routed = self._route(task, args, kwargs, {name: value for name, value in options.items() if name != "headers"})
        message = self._make(
            task_id,
            name,
            args,
            kwargs,
            reply_to=self._reply_to,
            origin=self._origin,
            ignore_result=task.ignore_result,
            argsrepr=_shown(args),
            kwargsrepr=_shown(kwargs),
            **routed,
        )
        queue = routed.get("queue")
        where = str(getattr(queue, "name", queue))
        known = {"declare": ()} if where in self._declared else {}
        if self._on_call:
            self._on_call(self._producer, task_id)
        headers = options.get("headers") or {}
        self._send(self._producer, name, message, headers=headers, **self._retried, **known, **routed)
        self._declared.add(where)

    def _route(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]
    ) -> dict[str, Any]:
        known = self._routes.get(task.name)
        if known is not None and not options:
            return known
        own = {"serializer": task.serializer} | ({} if task.priority is None else {"priority": task.priority})
        routed: dict[str, Any] = self._app.amqp.router.route({**own, **options}, task.name, args, kwargs, task)
        if not options and isinstance(self._app.conf.task_routes, dict):  # other routers may look at the arguments
            self._routes[task.name] = routed
        return routed


def _shown(arguments: object) -> str | None:
    shown = repr(arguments)
    return shown if len(shown) <= _SHOWN_AS_IT_IS else None
