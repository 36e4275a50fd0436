"""Traces: what a run did, step by step, afterwards and while it happens (WIRE.md 5.3, 5.4).

Prompts, outputs and errors are told only for runs that were begun with ``trace: true``; their sizes always.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import JsonValue

from .answers import JsonAnswer, Refusal
from .clock import milliseconds, timestamp
from .connection import HangUp, while_connected
from .endpoints import Exchange, ReadEndpoint
from .events import EventStream
from .runs import Run, StepRecord
from .step_events import flow_completed, history


class WholeTrace(ReadEndpoint):
    """``GET …/runs/{execution_id}/trace``."""

    name = "trace"

    async def _tell(self, exchange: Exchange, run: Run) -> None:
        steps = [_step_trace(run, record) for record in _told(run)]
        await exchange.answer(JsonAnswer({"flowRun": _summary(run), "steps": steps}))


class StepTrace(ReadEndpoint):
    """``GET …/runs/{execution_id}/steps/{step_id}/trace``: one attempt, the latest unless asked otherwise, or all."""

    name = "step_trace"

    async def _tell(self, exchange: Exchange, run: Run) -> None:
        step_id = exchange.request.path_params["step_id"]
        query = exchange.request.query_params
        attempt, loop_index = query.get("attempt", "latest"), query.get("loop_index")
        records = [record for record in _told(run) if record.step_id == step_id]
        if loop_index is not None:
            lap = _number("loop_index", loop_index, least=0)
            records = [record for record in records if record.loop_index == lap]
        if attempt not in ("latest", "all"):
            number = _number("attempt", attempt, least=1)
            records = [record for record in records if record.attempt == number]
        if not records:
            raise Refusal(404, "STEP_NOT_FOUND", f"The run has no such execution of a step {step_id!r}.")
        if attempt == "all":
            attempts = [_step_trace(run, record) for record in records]
            await exchange.answer(JsonAnswer({"stepId": step_id, "attempts": attempts}))
        else:
            await exchange.answer(JsonAnswer(_step_trace(run, records[-1])))


class LiveTrace(ReadEndpoint):
    """``GET …/runs/{execution_id}/trace/stream``: what has happened, then what happens, until the run has ended."""

    name = "live_trace"

    async def _tell(self, exchange: Exchange, run: Run) -> None:
        stream = EventStream(exchange.request.scope, exchange.send, exchange.manner)
        exchange.entry.status = 200
        await while_connected(exchange.receive, self._follow(stream, run))
        await stream.close()

    async def _follow(self, stream: EventStream, run: Run) -> None:
        with self._service.watchers.watching(run) as news:
            # Both at the same moment: nothing falls between what has happened and what comes.
            so_far, goes_on = list(history(run)), not run.is_over
            await stream.open()
            for event in so_far:
                await stream.emit(*event)
            while goes_on and (event_to_come := await stream.wait_for(news.get)) is not None:
                if isinstance(event_to_come, HangUp):
                    raise event_to_come
                await stream.emit(*event_to_come)
        if run.status == "completed":
            await stream.emit(*flow_completed(run))


def _told(run: Run) -> list[StepRecord]:
    # The laps of a loop stand for the step, so that nothing is in the sum of all costs twice.
    looped = {(record.step_id, record.attempt) for record in run.records if record.loop_index is not None}
    return [
        record
        for record in run.records
        if record.loop_index is not None or (record.step_id, record.attempt) not in looped
    ]


def _summary(run: Run) -> dict[str, Any]:
    return {
        "id": run.execution_id,
        "flowId": run.flow.flow_id,
        "status": run.status,
        "triggerType": run.trigger,
        "startedAt": timestamp(run.started_at),
        "completedAt": timestamp(run.completed_at),
        "durationMs": milliseconds(run.started_at, run.completed_at),
        "stepCount": len(run.steps),
    }


def _step_trace(run: Run, record: StepRecord) -> dict[str, Any]:
    position = run.step_position(record.step_id)
    has_output = record.status == "completed"
    return {
        "stepId": record.step_id,
        "attempt": record.attempt,
        "loopIndex": record.loop_index,
        "status": record.status,
        "startedAt": timestamp(record.started_at),
        "completedAt": timestamp(record.completed_at),
        "durationMs": milliseconds(record.started_at, record.completed_at),
        "modelUsed": None if position is None else run.steps[position].model,
        "tokens": record.tokens and record.tokens.figures,
        "costUsd": record.cost_usd,
        "inputContext": {"prompt": record.input} if run.trace else None,
        "outputContext": {"output": record.output} if run.trace and has_output else None,
        "errorContext": record.error if run.trace else None,
        "inputSizeBytes": _size(record.input),
        "outputSizeBytes": _size(record.output) if has_output else None,
        "truncated": False,
    }


def _size(value: JsonValue) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace"))


def _number(name: str, text: str, *, least: int) -> int:
    number = int(text) if text.isdecimal() and len(text) < 10 else -1
    if number < least:
        raise Refusal(422, "VALIDATION_ERROR", f"{name}: {text!r} is no number from {least} on.")
    return number
