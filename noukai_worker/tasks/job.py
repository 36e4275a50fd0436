"""The task `noukai.job`: a run in the service's own queue, handed in once and then asked after; it holds no thread."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from celery import shared_task

import noukai_sdk

from ..runs import EntryType, Failure, operations, outcome
from ..runs.answers import Claimed
from ..settings import current
from ..stream import Engine, HeldRun
from .attempt import attempt
from .base import FlowTask
from .reconcile import Finding, UnderWay, conclude, inquire, session_of


class JobTask(FlowTask):
    """Publishes like `FlowTask`; executes on an event loop."""

    abstract = True
    mode = "job"


@shared_task(bind=True, base=JobTask, name="noukai.job")  # type: ignore[untyped-decorator]
def job_flow(self: JobTask, flow: str, message: str | None = None, **fields: Any) -> Any:  # noqa: ARG001 - the record counts
    """Queue a flow at the service and wait for it. The result is the flow's output. Takes what `enqueue` takes for a job."""
    return attempt(self, partial(_follow, self))


async def _follow(task: JobTask, engine: Engine, claimed: Claimed, run: HeldRun) -> outcome.Outcome:
    client, settings = engine.client(claimed.request.credential), current()
    execution_id = claimed.checkpoint.execution_id
    if execution_id is None and claimed.unsettled:
        try:
            finding = await _find_out(client, claimed)
        except noukai_sdk.NoukaiError as error:
            return task.judge(error, claimed, repeatable=True, settled=False)
        if isinstance(finding, UnderWay):
            execution_id = finding.execution_id
            await run.append(_submitted(execution_id))
        else:
            end = conclude(finding, task, claimed)
            if end is not None:
                return end
    if execution_id is not None:
        job = client.flow(claimed.request.flow).job(execution_id)
    else:
        await run.confirm()  # a worker that was frozen must not pay for what another one has taken up
        job = await _submit(client, claimed)
        # Before anything else: whoever comes after us asks after this execution, and hands in no other.
        await run.append(_submitted(job.execution_id))
    try:
        status = await job.wait(timeout=claimed.request.timeout or settings.max_age)
    except noukai_sdk.FlowNotFoundError as error:  # the service may take some seconds to know it (WIRE 5.2)
        unknown = Failure("job_unknown", f"the service does not know the job {job.execution_id} ({error.message})")
        return task.again(unknown, claimed, None, settled=False)
    except noukai_sdk.NoukaiError as error:
        # Whatever it is, the job may go on: it is never handed in again for that.
        return task.judge(error, claimed, repeatable=True, settled=False)
    if status.status == "completed":
        return outcome.Completed(status.result, job.execution_id)
    return outcome.Failed(Failure("FLOW_FAILED", str(status.error or f"the job is {status.status}")))


async def _submit(client: noukai_sdk.AsyncNoukai, claimed: Claimed) -> noukai_sdk.AsyncJob:
    request = claimed.request
    given = request.flow_input() | {"session_id": session_of(claimed), "timeout": None}
    return await client.flow(request.flow).execute_async(request.message, **given)


async def _find_out(client: noukai_sdk.AsyncNoukai, claimed: Claimed) -> Finding:
    inquiry = inquire(claimed, time.monotonic(), patience=0.0)
    try:
        pause = next(inquiry)
        session = client.session(session_of(claimed))
        while True:
            await asyncio.sleep(pause)
            try:
                answer: Any = (await session.read()).executions
            except noukai_sdk.NoukaiError as error:
                answer = error
            pause = inquiry.send((answer, time.monotonic()))
    except StopIteration as stop:
        finding: Finding = stop.value
        return finding


def _submitted(execution_id: str) -> outcome.Progress:
    entry = operations.entry(EntryType.SUBMITTED, {"execution_id": execution_id})
    return outcome.Progress([entry], execution_id=execution_id)
