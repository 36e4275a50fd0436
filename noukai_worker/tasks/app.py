"""Which Celery app carries the tasks: the application's own one after `configure(app)`, else the stand-alone `celery_app`."""

from __future__ import annotations

from functools import cache
from typing import Any

from celery import Celery, _state
from kombu import Exchange, Queue

from .. import settings as process
from ..settings import Settings
from . import conf, rabbitmq
from . import execute as _execute  # noqa: F401 - declares its task
from . import job as _job  # noqa: F401 - declares its task
from . import stream as _stream  # noqa: F401 - declares its task
from .declaring import Declaring
from .sweeping import Sweeping

_configured: list[Celery] = []

EXAMINING = "noukai_worker.doctor.step:Examining"
"""A step of the room above, which Celery loads in workers by this name; nothing else needs it."""


def configure(app: Celery, settings: Settings | None = None) -> Celery:
    """Make an application's Celery app carry the tasks: routes, the settings that the laws need, a sweeper in its workers.

    `settings` replace the environment's in this process; what is replaced in the app's own is listed in the README. Returns `app`.
    """
    if settings:
        process.adopt(settings)
    settings = process.current()
    changes = conf.needed(settings)
    changes["result_backend_transport_options"] |= app.conf.result_backend_transport_options or {}
    changes["task_routes"] = _routes(app.conf.task_routes, changes["task_routes"])
    quorum = rabbitmq.spoken_by(app)
    app.conf.update(changes | (rabbitmq.needed() if quorum else {}))
    if quorum:
        _add_queues(app)
    app.steps["worker"] |= _steps(quorum)
    _configured[:] = [app]
    app.finalize(auto=True)  # takes up the tasks that `shared_task` has declared
    return app


@cache
def standalone() -> Celery:
    """The app of `celery -A noukai_worker`, configured by the environment alone."""
    return build(process.current())


def build(settings: Settings) -> Celery:
    """A Celery app of this project alone."""
    app = Celery("noukai_worker", set_as_current=False)
    app.config_from_object(conf.alone(settings))
    app.backend_cls = conf.backend(settings)
    quorum = rabbitmq.spoken_at(settings.broker)
    app.conf.task_queues = _queues(quorum)
    app.steps["worker"] |= _steps(quorum)
    app.finalize(auto=True)  # takes up the tasks that `shared_task` has declared
    return app


def current() -> Celery:
    """The app that enqueues and sweeps in this process."""
    return _configured[0] if _configured else standalone()


def adopt_default() -> None:
    """Let `execute_flow.delay(...)` work in a process that has no Celery app: the stand-alone one becomes the default."""
    if not _configured and _state.default_app is None and _state._tls.current_app is None:
        _state.set_default_app(standalone())


def _queues(quorum: bool) -> list[Any]:
    # Each with an exchange of its own: queues that share the default exchange and key would each get every message.
    return [rabbitmq.queue(name) if quorum else Queue(name, Exchange(name), routing_key=name) for name in conf.QUEUES]


def _steps(quorum: bool) -> set[Any]:
    return {Sweeping, EXAMINING, *([Declaring] if quorum else [])}


def _add_queues(app: Celery) -> None:
    """Make our queues known to an application's app, for workers that are told to consume from them (`-Q`), and only those."""
    known = app.amqp.queues
    theirs = list(known.consume_from)
    for queue in _queues(quorum=True):
        known.setdefault(queue.name, queue)  # `add` would ask for the app's priorities, which quorum queues refuse
    known.select(theirs)


def _routes(theirs: Any, ours: dict[str, Any]) -> Any:
    if not theirs:
        return ours
    if isinstance(theirs, dict):
        return ours | theirs
    return [*(theirs if isinstance(theirs, list | tuple) else [theirs]), ours]
