"""Messages that go to the broker together, with Celery's `task-sent` events: one trip for many, where the transport can."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from celery import Celery
from celery.backends.redis import RedisBackend
from kombu import Producer
from kombu.exceptions import BatchPublishError, OperationalError

T = TypeVar("T")

_PAUSES = (0.0, 0.2)
"""Seconds before the second and the third try. A message that came twice does no harm (law 4)."""

_COMMANDS = 500
"""Of one trip: a message on Redis is one."""

_SHOWN_AS_IT_IS = 1000
"""Characters; what is longer is Celery's to shorten (`argsrepr`)."""


_CARRIED = frozenset({"add_to_parent", "headers", "priority"})
"""Options of messages that need nothing of Celery's canvas."""


def carry(app: Celery, options: Iterable[str] = ()) -> bool:
    """Whether messages with these options may go past `Task.apply_async`. What is sent within a task has a parent, and does not."""
    return _CARRIED.issuperset(options) and not app.conf.task_always_eager and app.current_worker_task is None


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


class Train:
    """Sends messages of one kind after another, past `Task.apply_async`: its signals and events are kept, and no result is made."""

    def __init__(self, app: Celery, producer: Producer) -> None:
        self._app, self._producer = app, producer
        self._events: list[tuple[str, Mapping[str, Any]]] = []
        self._declared: set[str] = set()

    def add(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], task_id: str, options: Mapping[str, Any]
    ) -> None:
        """Send one message. `options` are those of `apply_async` that Celery's amqp knows."""
        app, task = self._app, self._app.tasks[name]
        own: dict[str, Any] = {"serializer": task.serializer}
        if task.priority is not None:
            own["priority"] = task.priority
        rest = {option: value for option, value in options.items() if option not in ("add_to_parent", "headers")}
        routed = app.amqp.router.route({**own, **rest}, name, args, kwargs, task)
        headers = options.get("headers") or {}
        message = app.amqp.create_task_message(
            task_id,
            name,
            args,
            kwargs,
            reply_to=app.thread_oid,
            create_sent_event=app.conf.task_send_sent_event,
            ignore_result=task.ignore_result,
            argsrepr=_shown(args),
            kwargsrepr=_shown(kwargs),
            **routed,
        )
        queue = routed.get("queue")
        where = str(getattr(queue, "name", queue))
        known = {"declare": ()} if where in self._declared else {}
        if not isinstance(app.backend, RedisBackend):  # there `get` subscribes by itself, and nobody else needs to
            app.backend.on_task_call(self._producer, task_id)
        send = partial(app.amqp.send_task_message, self._producer, name, message, retry=False, event_dispatcher=self)
        send(headers=headers, **known, **routed)
        self._declared.add(where)

    def publish(self, kind: str, fields: Mapping[str, Any], producer: Producer, **_: Any) -> None:
        """For Celery, which takes this for its event dispatcher, and would send an event after each message."""
        del producer
        self._events.append((kind, fields))

    def close(self) -> None:
        """Send the events: as one message, if there are several."""
        told, self._events = self._events, []
        if len(told) == 1:
            ((kind, fields),) = told
            self._app.amqp._event_dispatcher.publish(kind, fields, self._producer, retry=False)
        elif told:
            events = self._app.events.Dispatcher(
                channel=self._producer.channel,
                buffer_group={"task"},
                buffer_limit=len(told),
                buffer_while_offline=False,
            )
            events.publisher = self._producer
            for kind, fields in told:
                events.send(kind, **fields)


def _shown(arguments: Iterable[Any]) -> str | None:
    shown = repr(arguments)
    return shown if len(shown) <= _SHOWN_AS_IT_IS else None
