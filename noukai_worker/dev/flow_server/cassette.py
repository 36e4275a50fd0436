"""``GET /seq/sessions/{uuid}``: a session's runs with all that they gave, for clients to replay (WIRE.md 5.5)."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from .answers import JsonAnswer
from .clock import milliseconds, timestamp
from .endpoints import Endpoint, Exchange
from .runs import Run, StepRecord


class Cassette(Endpoint):
    """The endpoint."""

    name = "session"

    async def _answer(self, exchange: Exchange) -> None:
        session_id = exchange.request.path_params["session_id"]
        exchange.entry.session_id = session_id
        await self._be_rude(exchange)
        runs = self._service.sessions.runs(session_id, exchange.key)
        await exchange.answer(JsonAnswer({"sessionId": session_id, "executions": [_execution(run) for run in runs]}))


def _execution(run: Run) -> dict[str, Any]:
    # What a step gave in the end: earlier attempts are no part of the result, laps are in the step's output.
    latest = {record.step_id: record for record in run.records if record.loop_index is None}
    steps = sorted(latest.values(), key=lambda record: record.started_at)
    failed = [record.step_id for record in steps if record.status == "failed"]
    return {
        "executionId": run.execution_id,
        "flowId": run.flow.flow_id,
        "slug": run.flow.slug,
        "triggerType": run.trigger,
        "status": run.status,
        "startedAt": timestamp(run.started_at),
        "completedAt": timestamp(run.completed_at),
        "traceCaptureMode": "full" if run.flow.snapshots else "metadata_only",
        "snapshotsAvailable": run.flow.snapshots,
        "steps": [_step(run, record) for record in steps],
        "errorAtStep": failed[-1] if failed and run.status == "failed" else None,
    }


def _step(run: Run, record: StepRecord) -> dict[str, Any]:
    kept = run.flow.snapshots
    return {
        "stepId": record.step_id,
        "attempt": record.attempt,
        "loopIndex": None,
        "status": record.status,
        "startedAt": timestamp(record.started_at),
        "completedAt": timestamp(record.completed_at),
        "durationMs": milliseconds(record.started_at, record.completed_at),
        "inputSnapshot": {"prompt": record.input} if kept else None,
        "outputSnapshot": _with_prompt(record) if kept else None,
        "errorSnapshot": record.error if kept else None,
        "truncated": False,
    }


def _with_prompt(record: StepRecord) -> JsonValue:
    # The service puts the prompt beside an output that is an object; clients take it out again.
    if isinstance(record.output, dict):
        return {**record.output, "__rendered_prompt__": record.input}
    return record.output
