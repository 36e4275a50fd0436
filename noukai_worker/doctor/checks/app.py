"""Judges the Celery app: what `configure(app)` set and somebody changed, and what would cut our tasks short."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..facts import App, Facts
from ..finding import Finding, Severity, problem, warning

LONGEST_FLOW = 1800.0
"""Seconds: flows take up to half an hour."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """One of Celery's settings: what is wrong with it, told with its value."""

    code: str
    setting: str
    severity: Severity
    wrong: Callable[[Any], bool]
    message: str
    remedy: str


_RULES = (
    _Rule(
        "eager",
        "task_always_eager",
        Severity.PROBLEM,
        bool,
        "tasks run in the process that enqueues them, and end with it",
        "set it to False; Celery's manual, too, calls it unsuitable for anything but a look",
    ),
    _Rule(
        "cancels_on_connection_loss",
        "worker_cancel_long_running_tasks_on_connection_loss",
        Severity.PROBLEM,
        bool,
        "each lost connection to the broker cuts off all running paid calls",
        "set it to False, as configure(app) does",
    ),
    _Rule(
        "connects_once",
        "broker_connection_retry",
        Severity.PROBLEM,
        lambda value: not value,
        "a worker whose connection to the broker is lost does not come back",
        "set it to True, Celery's default",
    ),
    _Rule(
        "gives_up_connecting",
        "broker_connection_max_retries",
        Severity.WARNING,
        bool,
        "workers end after so many failed connections, instead of waiting for the broker",
        "set it to None, as configure(app) does",
    ),
    _Rule(
        "starts_only_with_broker",
        "broker_connection_retry_on_startup",
        Severity.WARNING,
        lambda value: not value,
        "a worker that starts before the broker does ends at once",
        "set it to True, as configure(app) does",
    ),
    _Rule(
        "prefetches",
        "worker_prefetch_multiplier",
        Severity.WARNING,
        lambda value: value != 1,
        "runs wait in a busy worker, behind calls of half an hour, while others are idle; "
        "after NOUKAI_WORKER_PICKUP they are sent again",
        "set it to 1, as configure(app) does",
    ),
    _Rule(
        "remote_control_off",
        "worker_enable_remote_control",
        Severity.WARNING,
        lambda value: not value,
        "a cancelled run stops only when its worker next writes or renews its lease; inspect and Flower see no worker",
        "set it to True, Celery's default",
    ),
)


def app(facts: Facts) -> Iterator[Finding]:
    """The app's settings, and what they make of our tasks."""
    if not facts.app.sweeps:
        yield problem(
            "not_configured",
            "app",
            "configure(app) was not called: no worker of this app looks after lost and overdue runs",
            "from noukai_worker import configure; configure(app)",
        )
    conf = facts.app.conf
    for rule in _RULES:
        if rule.setting in conf and rule.wrong(conf[rule.setting]):
            message = f"{rule.setting} is {conf[rule.setting]!r}: {rule.message}"
            yield Finding(rule.severity, rule.code, "app", message, rule.remedy)
    yield from _results(facts.app, conf, facts.settings.retention)
    yield from _tasks(facts.app, facts.settings.lease)


def _results(app: App, conf: Mapping[str, Any], retention: float) -> Iterator[Finding]:
    if not app.results:
        yield warning(
            "no_result_backend",
            "app",
            "no result backend: runs keep their results, but AsyncResult, chords and Flower do not see them",
            "set result_backend to the Redis of NOUKAI_REDIS_URL, or read results with run.result()",
        )
        return
    if not conf.get("result_backend_always_retry", True):
        yield warning(
            "results_not_retried",
            "app",
            "result_backend_always_retry is False: a run that completes while the backend is away is a FAILURE to AsyncResult",
            "set it to True, as configure(app) does",
        )
    expires = conf.get("result_expires")
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if seconds and seconds < retention:
        yield warning(
            "results_expire_early",
            "app",
            f"result_expires is {seconds:g} s, runs are kept for {retention:g} s: AsyncResult takes a finished run for PENDING",
            "set it beyond NOUKAI_WORKER_RETENTION, as configure(app) does",
        )


def _tasks(app: App, lease: float) -> Iterator[Finding]:
    for task in app.ours:
        if not task.acks_late:
            yield warning(
                "acks_early",
                task.name,
                f"acks_late is False: a killed worker's run goes on only when its lease ({lease:g} s) is over",
                "leave acks_late of noukai's tasks alone (task_annotations)",
            )
        elif not task.reject_on_worker_lost:
            yield warning(
                "lost_worker_fails",
                task.name,
                "reject_on_worker_lost is False: a killed child's run is a FAILURE to AsyncResult, though it goes on",
                "leave reject_on_worker_lost of noukai's tasks alone (task_annotations)",
            )
        if task.time_limit and task.time_limit < LONGEST_FLOW:
            yield warning(
                "time_limit",
                task.name,
                f"Celery ends a run that takes over {task.time_limit:g} s; a flow may take {LONGEST_FLOW:g} s",
                f'task_annotations = {{"{task.name}": {{"time_limit": 86400, "soft_time_limit": 86400}}}}',
            )
