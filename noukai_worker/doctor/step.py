"""Has every worker look at itself when it starts, and log what is wrong: a step of Celery's, named in tasks/app.py."""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery import bootsteps

from ..pool import TaskPool, ThreadPool
from ..settings import Settings, current
from . import gathering
from .checks import judge
from .facts import Worker
from .finding import Severity

logger = logging.getLogger(__name__)

_LEVELS = {Severity.PROBLEM: logging.ERROR, Severity.WARNING: logging.WARNING}


class Examining(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Looks in a thread of its own: a start neither waits for it nor fails because of it."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Begin to look."""
        itself = _itself(worker)
        threading.Thread(target=_look, args=(worker.app, current(), itself), name="noukai-doctor", daemon=True).start()


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


def _look(app: Any, settings: Settings, worker: Worker) -> None:
    try:
        findings = judge(gathering.of_worker(app, settings, worker))
    except Exception:
        logger.exception("the doctor itself has failed; the worker works on")
        return
    for finding in findings:
        if level := _LEVELS.get(finding.severity):
            logger.log(level, "doctor: %s (%s): %s; %s", finding.code, finding.where, finding.message, finding.remedy)
