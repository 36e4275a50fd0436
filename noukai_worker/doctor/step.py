"""Has every worker look at itself once it has started: a step of Celery's, named in tasks/app.py."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from celery import bootsteps
from celery.signals import worker_ready

from ..settings import Settings, current

logger = logging.getLogger(__name__)

_PATIENCE = 5.0
"""Seconds that a worker may take to be ready before it is looked at: what holds it up may be what is wrong."""

_GRACE = 1.0
"""Seconds after that: a look costs as much as a tenth of a start, and the messages that have waited for a worker come first."""


class Examining(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Looks in a thread of its own, soon after the worker is ready: a start is neither longer nor fails because of it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        self._ready = threading.Event()
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        """Have the worker looked at when it is ready."""
        worker_ready.connect(self.ready)
        threading.Thread(target=self._look, args=(worker, current()), name="noukai-doctor", daemon=True).start()

    def ready(self, **_: Any) -> None:
        """The worker is ready."""
        self._ready.set()

    def _look(self, worker: Any, settings: Settings) -> None:
        self._ready.wait(_PATIENCE)
        time.sleep(_GRACE)
        try:
            from .looking import report  # a half of what a look costs

            report(worker, settings)
        except Exception:
            logger.exception("the doctor itself has failed; the worker works on")
