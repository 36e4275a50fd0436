"""This room turns OpenTelemetry on for those who ask; for all others the package is not even imported (WIRE.md 6.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noukai_sdk._errors import NoukaiError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from noukai_sdk._spans import Spans


def spans(*, otel: bool, tracer: Tracer | None, steps: bool, payloads: bool) -> Spans | None:
    """What makes the spans; None if nobody asks for any. Raises NoukaiError if the package is missing."""
    if not (otel or steps or payloads or tracer is not None):
        return None
    try:
        from noukai_sdk._spans import Spans
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise NoukaiError(
            "otel needs the package opentelemetry-api: pip install 'noukai-worker[otel]'", sent=False
        ) from error
    return Spans.of(tracer, steps=steps, payloads=payloads)
