"""Looks at a Celery app: its settings, and its tasks as they are once annotations and routes have had their say."""

from __future__ import annotations

from typing import Any

from celery import Celery

from ..tasks.base import FlowTask
from ..tasks.sweeping import Sweeping
from .facts import App, Task

_JUDGED = (
    "broker_connection_max_retries",
    "broker_connection_retry",
    "broker_connection_retry_on_startup",
    "result_backend_always_retry",
    "result_expires",
    "task_always_eager",
    "worker_cancel_long_running_tasks_on_connection_loss",
    "worker_enable_remote_control",
    "worker_prefetch_multiplier",
)


def look_at(app: Celery) -> App:
    """An app as its workers will see it. Opens no connection."""
    tasks = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    return App(
        sweeps=Sweeping in app.steps["worker"],
        results=(app.backend_cls or app.conf.result_backend or "disabled") not in ("disabled", "disabled://"),
        conf={name: app.conf[name] for name in _JUDGED},
        ours=tuple(_task(app, task) for _, task in sorted(tasks.items()) if isinstance(task, FlowTask)),
        theirs=tuple(_task(app, task) for _, task in sorted(tasks.items()) if not isinstance(task, FlowTask)),
    )


def _task(app: Celery, task: Any) -> Task:
    limits = [
        task.time_limit or app.conf.task_time_limit,
        task.soft_time_limit or app.conf.task_soft_time_limit,
    ]
    return Task(
        name=task.name,
        queue=_queue(app, task) if isinstance(task, FlowTask) else None,
        acks_late=bool(task.acks_late),
        reject_on_worker_lost=bool(task.reject_on_worker_lost),
        time_limit=min((float(limit) for limit in limits if limit), default=None),
    )


def _queue(app: Celery, task: Any) -> str | None:
    """Where its messages go. Only looked up: to route would make the queue, and a worker without -Q consume from it."""
    try:
        route = app.amqp.router.lookup_route(task.name, (), {}, {}, task)
    except Exception:  # noqa: BLE001 - a router is the application's own function
        return None
    queue = route.get("queue") if isinstance(route, dict) else route
    if queue is None:
        return None if route else str(app.conf.task_default_queue)
    return str(getattr(queue, "name", queue))
