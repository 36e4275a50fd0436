"""One attempt at a run on an event loop: claims it, lets the work be done, and ends it, whatever interrupts that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn

from celery.exceptions import Ignore

from .. import pool
from ..errors import RunFinished
from ..runs import Failure, operations, outcome
from ..runs.answers import Claimed
from ..settings import current
from ..stream import Engine, HeldRun, LeaseLost
from . import dispatch, results
from .admission import Admission, TurnedAway
from .base import FlowTask

_LAST_WORDS = 1.0
"""Seconds in which a draining attempt still takes what the service has sent: a step that ended there need not be done again.

A service that notices its caller going (`half_close`) ends the stream at once, behind what it has written.
"""

Work = Callable[[Engine, Claimed, HeldRun], Coroutine[Any, Any, outcome.Outcome]]
"""Says how the attempt ends, or raises what went wrong; it may have ended the run by itself."""


def attempt(task: FlowTask, work: Work) -> Any:
    """Make one attempt at the run of this message; what Celery is to know of it."""
    try:
        return pool.run(_attempt(task, work))
    except TurnedAway as refusal:
        return task.report(refusal.state)


async def _attempt(task: FlowTask, work: Work) -> Any:
    engine = Engine.here(current())
    if not pool.running_in_pool():
        try:
            return await _claim_and_work(task, engine, work)
        finally:
            await engine.aclose()
    if engine.fresh:
        pool.on_loop_close(engine.aclose)
    return await _claim_and_work(task, engine, work)


async def _claim_and_work(task: FlowTask, engine: Engine, work: Work) -> Any:
    settings = current()
    unrecorded = task.ensure_recorded()
    if unrecorded:
        await engine.writer.perform(dispatch.record(unrecorded, settings))
    admission = Admission(task)
    claim = operations.claim(task.request.id, claim_id=task.claim_id(), lease=settings.lease, worker=task.worker)
    opening = operations.chained(admission.operation, claim)
    (admitted, answer), interruption = await engine.writer.carry_out(opening)
    with admission.granted(admitted):
        return await _claimed_work(task, engine, task.claimed(answer), interruption, work)


async def _claimed_work(
    task: FlowTask, engine: Engine, claimed: Claimed, interruption: BaseException | None, work: Work
) -> Any:
    run = engine.holdings.hold(claimed.lease)
    try:
        if isinstance(interruption, Exception):  # a soft time limit
            return task.settle(await run.close(task.judge(interruption, claimed)), claimed)
        if interruption:
            await _stop(task, engine, claimed, run, interruption)
        end = await _work(task, engine, claimed, run, work)
    except LeaseLost as lost:
        if run.ended is not None:  # by ourselves, a moment ago
            return task.settle(run.ended, claimed)
        raise task.fenced(claimed, lost.state) from None
    finally:
        engine.holdings.release(run)
    telling = results.telling(task, claimed.lease, end)
    if telling and (await engine.writer.carry_out(telling))[0]:
        pool.recorded()
    return task.settle(end, claimed)


async def _work(task: FlowTask, engine: Engine, claimed: Claimed, run: HeldRun, work: Work) -> outcome.Outcome:
    try:
        # A worker that was frozen since the claim must not begin what another one has begun meanwhile.
        await run.confirm()
        end = await run.guard(work(engine, claimed, run), _last_words)
    except LeaseLost:
        raise
    except asyncio.CancelledError as interruption:
        if run.ended is not None:
            return run.ended
        await _stop(task, engine, claimed, run, interruption)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends the attempt, and the log says so
        if run.ended is not None:
            return run.ended
        end = task.judge(error, claimed, settled=not claimed.unsettled)
    return await run.close(end)


def _last_words() -> float:
    # Should no stream be ended by the service, not all are cut off in one turn of the loop: what came meanwhile would be lost.
    return _LAST_WORDS * (0.5 + random.random()) if pool.interruption() == "drain" else 0.0  # noqa: S311


async def _stop(
    task: FlowTask, engine: Engine, claimed: Claimed, run: HeldRun, interruption: BaseException
) -> NoReturn:
    """End the attempt because of what interrupted it, and raise what Celery is to see."""
    why = pool.interruption()
    if why == "drain":
        await run.close(outcome.GivenBack(settled=False))
        await asyncio.to_thread(task.send_again, claimed)
        raise Ignore from None
    if why is None:  # the process of another pool is being ended
        stopped = Failure("worker_stopped", "the worker was stopped")
        await run.close(task.again(stopped, claimed, None, settled=False))
    elif why == "revoke":
        with suppress(RunFinished):
            await engine.writer.carry_out(operations.cancel(claimed.lease.run_id, reason="revoked"))
    else:
        over = Failure("time_limit", "the task ran over Celery's time limit")
        await run.close(outcome.Failed(over, settled=False))
    raise interruption
