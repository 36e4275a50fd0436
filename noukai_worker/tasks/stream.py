"""The task `noukai.stream`: a flow whose events go to its log as they come; in the asyncio pool thousands share one loop."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from ..runs import outcome
from ..runs.answers import Claimed
from ..settings import current
from ..stream import Engine, HeldRun, relay
from .attempt import attempt
from .base import FlowTask


class StreamTask(FlowTask):
    """Publishes like `FlowTask`; executes on an event loop."""

    abstract = True
    mode = "stream"


@shared_task(bind=True, base=StreamTask, name="noukai.stream")  # type: ignore[untyped-decorator]
def stream_flow(self: StreamTask, flow: str, message: str | None = None, **fields: Any) -> Any:  # noqa: ARG001 - the record counts
    """Run a flow and relay its events. The result is the flow's output. Takes what `enqueue` takes of the flow's input."""
    return attempt(self, _relay)


async def _relay(engine: Engine, claimed: Claimed, run: HeldRun) -> outcome.Outcome:
    checkpoint = claimed.checkpoint
    if checkpoint.finished:
        return outcome.Completed(checkpoint.outputs[str(checkpoint.last_step)], checkpoint.execution_id)
    client = engine.client(claimed.request.credential)
    return await relay(client, claimed.request, checkpoint, claimed.reply, run, settings=current())
