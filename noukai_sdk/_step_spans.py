"""This room turns the trace of a run into one span per step, dated back to when the step ran (WIRE.md 5.3, 6.8)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from noukai_sdk._json import decode_leniently

PAYLOAD_CHARACTERS = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Member of the step in the trace, attribute of the span.
_ATTRIBUTES = {
    "stepId": "noukai.step.id",
    "attempt": "noukai.step.attempt",
    "status": "noukai.step.status",
    "durationMs": "noukai.step.duration_ms",
    "loopIndex": "noukai.step.loop_index",
    "costUsd": "noukai.step.cost_usd",
    "modelUsed": "gen_ai.request.model",
}
_PAYLOADS = {
    "inputContext": "noukai.step.input",
    "outputContext": "noukai.step.output",
    "errorContext": "noukai.step.error",
}


def add_step_spans(tracer: Tracer, parent: Span, body: bytes, *, with_payloads: bool) -> None:
    """A child of `parent` for each step in the trace. Raises ValueError for a body that is not JSON."""
    context = trace.set_span_in_context(parent)
    document = decode_leniently(body)
    steps = document.get("steps") if isinstance(document, dict) else None
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, dict):
            continue
        started = _moment(step.get("startedAt"))
        span = tracer.start_span(
            "noukai.flow.step",
            context=context,
            kind=SpanKind.INTERNAL,
            attributes=dict(_attributes(step, with_payloads=with_payloads)),
            start_time=_nanoseconds(started),
        )
        if step.get("status") == "failed":
            span.set_status(StatusCode.ERROR, _reason(step.get("errorContext")))
        span.end(_nanoseconds(_end(step, started)))


def _attributes(step: dict[str, Any], *, with_payloads: bool) -> Iterator[tuple[str, str | int | float]]:
    for member, attribute in _ATTRIBUTES.items():
        value = step.get(member)
        if isinstance(value, str | int | float):
            yield attribute, value
    tokens = step.get("tokens")
    if isinstance(tokens, dict):
        for member, attribute in (("prompt", "input"), ("completion", "output")):
            count = tokens.get(member)
            if isinstance(count, int):
                yield f"gen_ai.usage.{attribute}_tokens", count
    if with_payloads:
        for member, attribute in _PAYLOADS.items():
            if step.get(member) is not None:
                yield attribute, json.dumps(step[member], ensure_ascii=False)[:PAYLOAD_CHARACTERS]


def _end(step: dict[str, Any], started: datetime | None) -> datetime | None:
    completed, duration = _moment(step.get("completedAt")), step.get("durationMs")
    if completed is None and started is not None:
        completed = started + timedelta(milliseconds=duration if isinstance(duration, int | float) else 0)
    # An end before the start would be an error in every viewer.
    return completed if completed is None or started is None else max(started, completed)


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _nanoseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _reason(error: object) -> str | None:
    message = error.get("message") if isinstance(error, dict) else None
    return message if isinstance(message, str) else None
