"""Puts a sweeper and an usher into every Celery worker, as a step of its start."""

from __future__ import annotations

import logging
from typing import Any

from celery import bootsteps
from celery.backends.base import DisabledBackend
from celery.signals import worker_shutdown

from .. import tools
from ..errors import InvalidRequest
from ..settings import current
from ..sweeper import Sweeper
from . import clients, revoking
from .dispatch import end, send
from .usher import usher

logger = logging.getLogger(__name__)

_FORKING = "celery.concurrency.prefork"
"""The pool whose children are forks of the worker's process."""


class Sweeping(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Started with the worker, stopped before its pool drains."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        try:
            clients.check(current())
            tools.load(current().include)
        except InvalidRequest as error:
            # A worker with a typo in its settings would turn every run of the queue into a failure.
            raise SystemExit(f"error: {error}") from None
        if worker.pool_cls.__module__ == _FORKING:
            clients.load()
        self._sweeper: Sweeper | None = None
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        """Start sweeping in a thread of the worker's main process."""
        app = worker.app
        if isinstance(app.backend, DisabledBackend):
            logger.warning(
                "Celery keeps no results here: AsyncResult.get(), chains and chords do not see how runs end; "
                "the runs themselves are complete. Set NOUKAI_RESULT_BACKEND to have them"
            )
        self._sweeper = Sweeper(
            current(),
            send=lambda unsent: send(app, unsent.run_id, unsent.request, unsent.dispatch),
            end=lambda ended: end(app, ended),
        )
        self._sweeper.start()
        settings = current()
        usher(app).tend({"default", *settings.credentials, *settings.limits})
        # Only when the pool is empty: permits are given back until then.
        worker_shutdown.connect(lambda **_: usher(app).stop(), weak=False, dispatch_uid="noukai-usher")
        revoking.listen(app)

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop it, and wait for the round that is under way."""
        if self._sweeper:
            self._sweeper.stop()

    terminate = stop
