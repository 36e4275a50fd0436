"""The task `noukai.stream`: a flow whose events go to its log as they come; in the asyncio pool thousands share one loop."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from celery import shared_task
from celery.exceptions import Ignore

from .. import pool
from ..runs import Failure, operations, outcome
from ..runs.answers import Claimed
from ..settings import current
from ..stream import Engine, HeldRun, LeaseLost, open_stream, relay
from . import dispatch
from .admission import Admission, TurnedAway
from .base import FlowTask


class StreamTask(FlowTask):
    """Publishes like `FlowTask`; executes on an event loop."""

    abstract = True
    mode = "stream"


@shared_task(bind=True, base=StreamTask, name="noukai.stream")  # type: ignore[untyped-decorator]
def stream_flow(self: StreamTask, flow: str, message: str | None = None, **fields: Any) -> Any:  # noqa: ARG001 - the record counts
    """Run a flow and relay its events. The result is the flow's output. Takes what `enqueue` takes of the flow's input."""
    try:
        return pool.run(_attempt(self))
    except TurnedAway as refusal:
        return self.report(refusal.state)


async def _attempt(task: StreamTask) -> Any:
    engine = Engine.here(current())
    if not pool.running_in_pool():
        try:
            return await _claim_and_relay(task, engine)
        finally:
            await engine.aclose()
    if engine.fresh:
        pool.on_loop_close(engine.aclose)
    return await _claim_and_relay(task, engine)


async def _claim_and_relay(task: StreamTask, engine: Engine) -> Any:
    settings = current()
    unrecorded = task.ensure_recorded()
    if unrecorded:
        await engine.writer.perform(dispatch.record(unrecorded, settings))
    admission = Admission(task)
    with admission.granted(await engine.writer.perform(admission.operation)):
        return await _claimed_attempt(task, engine)


async def _claimed_attempt(task: StreamTask, engine: Engine) -> Any:
    settings = current()
    claim = operations.claim(task.request.id, claim_id=task.claim_id(), lease=settings.lease, worker=task.worker)
    answer, interruption = await engine.writer.carry_out(claim)
    claimed = task.claimed(answer)
    run = engine.holdings.hold(claimed.lease)
    try:
        if isinstance(interruption, Exception):  # a soft time limit
            return task.settle(await run.close(task.judge(interruption, claimed)), claimed)
        if interruption:
            await _stop(task, engine, claimed, run, interruption)
        end = await _relay(task, engine, claimed, run)
    except LeaseLost as lost:
        if run.ended is not None:  # by ourselves, a moment ago
            return task.settle(run.ended, claimed)
        raise task.fenced(claimed, lost.state) from None
    finally:
        engine.holdings.release(run)
    return task.settle(end, claimed)


async def _relay(task: StreamTask, engine: Engine, claimed: Claimed, run: HeldRun) -> outcome.Outcome:
    end: outcome.Outcome
    checkpoint = claimed.checkpoint
    try:
        if not checkpoint.finished:
            stream = open_stream(engine.client(claimed.request.credential), claimed.request, checkpoint)
            return await run.guard(relay(stream, run, pause_limit=current().pause_limit))
        end = outcome.Completed(checkpoint.outputs[str(checkpoint.last_step)], checkpoint.execution_id)
    except LeaseLost:
        raise
    except asyncio.CancelledError as interruption:
        if run.ended is not None:
            return run.ended
        await _stop(task, engine, claimed, run, interruption)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends the attempt, and the log says so
        if run.ended is not None:
            return run.ended
        end = task.judge(error, claimed)
    return await run.close(end)


async def _stop(
    task: StreamTask, engine: Engine, claimed: Claimed, run: HeldRun, interruption: BaseException
) -> NoReturn:
    """End the attempt because of what interrupted it, and raise what Celery is to see."""
    why = pool.interruption()
    if why == "drain":
        await run.close(outcome.GivenBack())
        await asyncio.to_thread(task.send_again, claimed)
        raise Ignore from None
    if why is None:  # the process of another pool is being ended
        await run.close(task.again(Failure("worker_stopped", "the worker was stopped"), claimed, None))
    elif why == "revoke":
        await engine.writer.carry_out(operations.cancel(claimed.lease.run_id, reason="revoked"))
    else:
        await run.close(outcome.Failed(Failure("time_limit", "the task ran over Celery's time limit")))
    raise interruption
