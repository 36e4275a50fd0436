"""Puts a sweeper and an usher into every Celery worker, as a step of its start."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery import bootsteps
from celery.signals import task_revoked, worker_shutdown

from ..errors import InvalidRequest, RunFinished, RunNotFound
from ..runs import operations, shared
from ..settings import current
from ..sweeper import Sweeper
from . import clients
from .base import FlowTask
from .dispatch import end, send
from .usher import usher


class Sweeping(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """Started with the worker, stopped before its pool drains."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        try:
            clients.check(current())
        except InvalidRequest as error:
            # A worker with a typo in its settings would turn every run of the queue into a failure.
            raise SystemExit(f"error: {error}") from None
        self._sweeper: Sweeper | None = None
        super().__init__(worker)

    def start(self, worker: Any) -> None:
        """Start sweeping in a thread of the worker's main process."""
        app = worker.app
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
        task_revoked.connect(_cancel, weak=False, dispatch_uid="noukai")

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop it, and wait for the round that is under way."""
        if self._sweeper:
            self._sweeper.stop()

    terminate = stop


def _cancel(sender: Any, request: Any, **_: Any) -> None:
    # Flower's button and `AsyncResult.revoke`: a run whose message Celery throws away has ended, and its log says so.
    if not isinstance(sender, FlowTask):
        return
    with suppress(RunFinished, RunNotFound):
        shared(current().redis_url, current().answer_within).perform(operations.cancel(request.id, reason="revoked"))
