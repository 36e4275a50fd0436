"""The task `noukai.execute`: one blocking, paid call of the sync client, in a log like any other run."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery import shared_task
from celery.exceptions import Ignore

from .. import pool
from ..errors import RunFinished
from ..runs import operations, outcome, shared
from ..runs.answers import Claimed
from ..settings import current
from ..stream import LeaseLost
from . import dispatch, results
from .admission import Admission, TurnedAway
from .base import FlowTask
from .call import PaidCall, Stopped
from .leases import insist, keeper


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
        insist(store, dispatch.record(unrecorded, settings))
    admission = Admission(self)
    claim = operations.claim(self.request.id, claim_id=self.claim_id(), lease=settings.lease, worker=self.worker)
    try:
        admitted, answer = insist(store, operations.chained(admission.operation, claim))
        with admission.granted(admitted):
            claimed = self.claimed(answer)
            return self.settle(_attempt(self, claimed), claimed)
    except TurnedAway as refusal:
        return self.report(refusal.state)


def _attempt(task: ExecuteTask, claimed: Claimed) -> outcome.Outcome:
    settings = current()
    store = shared(settings.redis_url, settings.answer_within)
    call = PaidCall(task, claimed)
    with keeper(store, settings.lease).keep(claimed.lease, call.stop) as held:
        try:
            with pool.interruptible(call.stop):
                end = outcome.readable(call.make(held))
            if held.close(end, pickup=settings.pickup, telling=results.telling(task, claimed.lease, end)):
                pool.recorded()
        except LeaseLost as lost:
            raise task.fenced(claimed, lost.state) from None
        except Stopped as stopped:
            if pool.interruption() == "revoke":
                with suppress(RunFinished):
                    insist(store, operations.cancel(claimed.lease.run_id, reason="revoked"))
                raise Ignore from None
            held.close(outcome.GivenBack(settled=stopped.settled), pickup=settings.pickup)
            task.send_again(claimed)
            raise Ignore from None
    return end
