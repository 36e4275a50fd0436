"""Carries a flow's events from the service to the run's log, a network read at a time.

A frame's payload travels as the bytes that came. What the worker needs to know of it (which step has finished, with what output)
goes into the checkpoint, in the same write (DESIGN 4).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic_core import to_json

import noukai_sdk

from .. import tools
from ..runs import Checkpoint, Failure, Reply, RunRequest, outcome
from ..settings import Settings
from .held import HeldRun


def open_stream(
    client: noukai_sdk.AsyncNoukai, request: RunRequest, checkpoint: Checkpoint, reply: Reply | None = None
) -> noukai_sdk.AsyncEventStream[Any]:
    """The events of a run from its checkpoint on, or from the pause that `reply` answers; nothing is sent before the first read."""
    # Before the first step has finished there is nothing to save, and the service wants the message again (WIRE 4.1).
    resumed = checkpoint.execution_id is not None and (checkpoint.step_index > 0 or reply is not None)
    waited = reply.continuation if reply else {}
    return client.flow(request.flow).events(
        request.message,
        **request.flow_input(),
        input_overrides=request.input_overrides,
        run_remaining=True,
        checkpoint=noukai_sdk.Checkpoint(checkpoint.execution_id, checkpoint.step_index, checkpoint.outputs)
        if resumed
        else None,
        tool_call_messages=[*(waited.get("tool_call_messages") or ()), *(reply.results or ())] if reply else None,
        iterations_used=waited.get("iterations_used") or 0,
    )


async def relay(
    client: noukai_sdk.AsyncNoukai,
    request: RunRequest,
    checkpoint: Checkpoint,
    reply: Reply | None,
    run: HeldRun,
    *,
    settings: Settings,
) -> outcome.Outcome:
    """Write what comes until the flow ends or waits for somebody else, and that it did; how it ended.

    Tool calls are answered here, if there are functions for them. Raises what the stream does, and LeaseLost.
    """
    for _ in range(settings.tool_rounds + 1):
        stream = open_stream(client, request, checkpoint, reply)
        end = await _follow(stream, run, settings.pause_limit)
        if not isinstance(end, outcome.Paused):
            return end
        calls = end.continuation["tool_calls"]
        if not tools.known(calls):
            return await run.close(end)
        results = await tools.answer(
            calls, run_id=run.lease.run_id, metadata=request.metadata or {}, limit=settings.tool_timeout
        )
        reply = Reply(end.continuation, results)
        await run.append(outcome.answered(reply))
        here = stream.checkpoint
        checkpoint = Checkpoint(here.execution_id, here.step_index, here.outputs)
    return outcome.Failed(outcome.too_many_rounds(settings.tool_rounds))


async def _follow(stream: noukai_sdk.AsyncEventStream[Any], run: HeldRun, pause_limit: float) -> outcome.Outcome:
    """Write what comes; how it ends. A pause for tool calls is not written as the end of the attempt: that is to be seen."""
    run.farewell = stream.half_close
    async with stream:
        async for frames in stream.batches():
            progress, end = _take(frames, stream, pause_limit)
            if isinstance(end, outcome.Paused):
                await run.append(progress)
                return end
            if end is not None:
                # Before the stream is closed: that takes time, and the end is known now.
                return await run.close(end, progress)
            await run.append(progress)
    raise noukai_sdk.StreamInterruptedError(
        "the stream ended without a terminal event: the run goes on at its checkpoint"
    )


def _take(
    frames: list[noukai_sdk.Frame], stream: noukai_sdk.AsyncEventStream[Any], pause_limit: float
) -> tuple[outcome.Progress, outcome.Outcome | None]:
    entries: list[tuple[bytes, bytes]] = []
    outputs: list[tuple[str, bytes]] = []
    step_count: int | None = None
    end: outcome.Outcome | None = None
    control = False
    for frame in frames:
        kind = frame.type
        entries.append((_kind(kind), frame.data))
        if kind == "step_output":
            continue
        control = True
        payload = frame.payload
        if kind == "step_completed":
            outputs.append((str(payload.get("stepId")), to_json(payload.get("output"), inf_nan_mode="null")))
        elif kind in ("run_started", "flow_started"):
            count = payload.get("stepCount")
            step_count = count if type(count) is int else None
        elif kind == "flow_completed":
            end = outcome.Completed(payload.get("result"), stream.checkpoint.execution_id)
        elif kind == "step_error":
            end = outcome.Failed(_step_failure(payload))
        elif kind == "step_paused_for_tool_calls":
            end = outcome.Paused(
                outcome.waiting_for(
                    step_id=payload.get("stepId"),
                    execution_id=payload.get("executionId"),
                    tool_calls=payload.get("toolCalls"),
                    tool_call_messages=payload.get("toolCallMessages"),
                    iterations_used=payload.get("iterationsUsed"),
                ),
                pause_limit,
            )
    if not control:
        return outcome.Progress(entries), end
    here = stream.checkpoint
    return outcome.Progress(entries, outputs, here.execution_id, here.step_index, step_count), end


@lru_cache(maxsize=256)
def _kind(kind: str) -> bytes:
    # `run.…` is ours: nothing that the service says may look like the end of a run (law 2).
    return to_json(f"service.{kind}" if kind.startswith("run.") else kind)


def _step_failure(payload: dict[str, Any]) -> Failure:
    error = payload.get("error")
    fields = error if isinstance(error, dict) else {"message": error}
    step = payload.get("name") or payload.get("stepId")
    return Failure(
        str(fields.get("code") or "STEP_FAILED"), f"step {step}: {fields.get('message') or 'no reason given'}"
    )
