"""Asks a credential's gate before an attempt begins; around claim and attempt, whichever kind of worker makes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..runs import State, operations
from ..runs.answers import Admitted
from ..runs.operations import Operation
from ..settings import current
from . import dispatch
from .usher import gate_of, usher

if TYPE_CHECKING:
    from celery import Task

logger = logging.getLogger(__name__)


class TurnedAway(Exception):
    """This message has nothing to do: it came twice, late or too early, or its run has to wait. `state` is the run's."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


class Admission:
    """One delivery of a run's message at the gate of its credential. Perform `operation`, and enter `granted` with its answer."""

    def __init__(self, task: Task) -> None:
        settings, request = current(), task.request
        fields: dict[str, Any] = request.kwargs or {}
        self._app = task.app
        self._run_id = str(request.id)
        self._gate = gate_of(settings, str(fields.get("credential") or "default"), task.mode)
        self.operation: Operation[Admitted] = operations.admit(
            self._gate,
            self._run_id,
            tenant=fields.get("tenant"),
            again=bool(request.get(dispatch.AGAIN)),
            lease=settings.lease,
        )

    @contextmanager
    def granted(self, answer: Admitted) -> Iterator[None]:
        """Claim and work inside; the permit is kept, and given back afterwards. Raises TurnedAway if the run has to wait."""
        if answer.others:
            usher(self._app).look(self._gate)
        if not answer.now:
            logger.info("run %s waits for its turn", self._run_id)
            raise TurnedAway(State.QUEUED)
        if not answer.permit:
            yield
            return
        usher(self._app).hold(self._gate, self._run_id)
        refused = False
        try:
            yield
        except TurnedAway:
            refused = answer.new
            raise
        finally:
            usher(self._app).leave(self._gate, self._run_id, refused=refused)
