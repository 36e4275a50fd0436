"""One look at an installation: facts are gathered, then judged; a worker logs what is found."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery

from ..pool import TaskPool, ThreadPool
from ..settings import Settings
from . import gathering
from .checks import judge
from .facts import Worker
from .finding import Finding, Severity

logger = logging.getLogger(__name__)

_LEVELS = {Severity.PROBLEM: logging.ERROR, Severity.WARNING: logging.WARNING}


def examine(app: Celery, settings: Settings) -> tuple[Finding, ...]:
    """What is wrong with a process' settings, its app, its servers and the live workers; the worst first. Takes seconds."""
    return judge(gathering.everything(app, settings))


def report(worker: Any, settings: Settings) -> None:
    """Log what is wrong with this process, a Celery worker."""
    for finding in judge(gathering.of_worker(worker.app, settings, _itself(worker))):
        if level := _LEVELS.get(finding.severity):
            logger.log(level, "doctor: %s (%s): %s; %s", finding.code, finding.where, finding.message, finding.remedy)


def _itself(worker: Any) -> Worker:
    kind = type(worker.pool)
    places = int(worker.concurrency or 1)
    return Worker(
        name=str(worker.hostname),
        pool=f"{kind.__module__}:{kind.__qualname__}",
        ours=isinstance(worker.pool, TaskPool | ThreadPool),
        on_loop=isinstance(worker.pool, TaskPool),
        queues=tuple(worker.app.amqp.queues.consume_from),
        places=places,
        prefetch=int(worker.prefetch_multiplier) * places,
    )
