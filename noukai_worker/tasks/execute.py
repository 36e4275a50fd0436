"""The task `noukai.execute`: one blocking, paid call of the sync client, in a log like any other run."""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded

import noukai_sdk

from ..errors import StoreUnavailable
from ..runs import Failure, RunStore, operations, outcome, shared
from ..runs.answers import Claimed, Fenced
from ..settings import current
from . import dispatch
from .admission import Admission, TurnedAway
from .base import FlowTask
from .clients import client
from .leases import keeper

logger = logging.getLogger(__name__)

_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)


class ExecuteTask(FlowTask):
    """Publishes like `FlowTask`; executes by blocking a thread or a process."""

    abstract = True
    mode = "execute"


@shared_task(bind=True, base=ExecuteTask, name="noukai.execute")  # type: ignore[untyped-decorator]
def execute_flow(self: ExecuteTask, flow: str, message: str | None = None, **fields: Any) -> Any:  # noqa: ARG001 - the record counts
    """Execute a flow. The result is the flow's output. Takes what `enqueue` takes of the flow's input."""
    settings = current()
    store = shared(settings.redis_url, settings.answer_within)
    unrecorded = self.ensure_recorded()
    if unrecorded:
        _insist(store, dispatch.record(unrecorded, settings))
    admission = Admission(self)
    try:
        with admission.granted(_insist(store, admission.operation)):
            return _claim_and_call(self, store)
    except TurnedAway as refusal:
        return self.report(refusal.state)


def _claim_and_call(self: ExecuteTask, store: RunStore) -> Any:
    settings = current()
    claim = operations.claim(self.request.id, claim_id=self.claim_id(), lease=settings.lease, worker=self.worker)
    claimed = self.claimed(_insist(store, claim))
    with keeper(store, settings.lease).keep(claimed.lease):
        end = outcome.readable(_call(self, claimed))
        closing = outcome.close(claimed.lease, claimed.lease.position, end, pickup=settings.pickup)
        answer = _insist(store, closing, to_the_end=True)
    if isinstance(answer, Fenced):
        raise self.fenced(claimed, answer.state)
    return self.settle(end, claimed)


def _call(task: ExecuteTask, claimed: Claimed) -> outcome.Outcome:
    request, settings = claimed.request, current()
    try:
        result = (
            client(settings, request.credential)
            .flow(request.flow)
            .execute(request.message, messages=request.messages, **request.flow_input())
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends the attempt, and the log says so
        return task.judge(error, claimed)
    if isinstance(result, noukai_sdk.PausedResult):
        waiting = outcome.waiting_for(
            step_id=result.paused_at_step,
            execution_id=result.execution_id,
            tool_calls=result.tool_calls,
            tool_call_messages=result.tool_call_messages,
            iterations_used=result.iterations_used,
        )
        return outcome.Paused(waiting, settings.pause_limit)
    if result.status != "completed":
        return outcome.Failed(Failure("FLOW_FAILED", str(result.result)))
    return outcome.Completed(result.result, result.execution_id)


def _insist(
    store: RunStore, operation: operations.Operation[operations.T], *, to_the_end: bool = False
) -> operations.T:
    """Carry out an operation however long Redis is away: a paid result is not thrown away for that. All may be repeated.

    `to_the_end`: not for Celery's soft time limit either; the call is over, only its record is missing.
    """
    tries = 0
    while True:
        try:
            try:
                return store.perform(operation)
            except StoreUnavailable as error:
                if tries == 0:
                    logger.warning("%s; waiting for it", error)
                time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
        except SoftTimeLimitExceeded:
            if not to_the_end:
                raise
