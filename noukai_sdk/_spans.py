"""This room watches conversations with OpenTelemetry: a span for each, its context on each request (WIRE.md 6.8).

A span is current only while the user's tool handler runs. A stream is left between two events, perhaps for another
task or thread, and must not leave a context behind there.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from noukai_sdk._errors import NoukaiError
from noukai_sdk._protocol.effects import READ, Call, Conversation, Deliver, Effect, Observe, Send
from noukai_sdk._protocol.paths import Version, flow_path, segment
from noukai_sdk._step_spans import add_step_spans
from noukai_sdk._version import __version__

T = TypeVar("T")

# The trace is an extra: a service that is slow to give it must not hold up the result.
_TRACE_TIMEOUT_SECONDS = 10.0
_END_STATUS = {
    "flow_completed": "completed",
    "step_error": "failed",
    "step_paused_for_tool_calls": "tool_calls_required",
}
_W3C = TraceContextTextMapPropagator()
_log = logging.getLogger("noukai_sdk")


@dataclass(slots=True)
class _Seen:
    """What a conversation has told about its run so far."""

    span: Span
    execution_id: str | None = None
    status: str | None = None
    # Not so for a run that is played back, which nobody must be asked about.
    is_live: bool = False

    def learn(self, execution_id: object = None, status: object = None) -> None:
        if isinstance(execution_id, str) and execution_id != self.execution_id:
            self.execution_id = execution_id
            self.span.set_attribute("noukai.execution_id", execution_id)
        if isinstance(status, str) and status != self.status:
            self.status = status
            self.span.set_attribute("noukai.flow.status", status)
            if status == "failed":
                self.span.set_status(StatusCode.ERROR, "the flow failed")

    def learn_from(self, delivered: Deliver) -> None:
        if self.execution_id is None:
            for frame in delivered.frames:
                if frame.checkpoint is not None:
                    self.learn(execution_id=frame.checkpoint.execution_id)
                    break
        if delivered.frames:
            self.learn(status=_END_STATUS.get(delivered.frames[-1].type))

    def fail(self, error: BaseException) -> None:
        if isinstance(error, NoukaiError):
            self.learn(execution_id=error.execution_id)
        self.span.record_exception(error)
        self.span.set_status(StatusCode.ERROR, str(error) or type(error).__name__)


@dataclass(frozen=True, slots=True)
class Spans:
    """Makes the spans of a client: for each conversation one, with `steps` also one per step of the run."""

    tracer: Tracer
    steps: bool
    payloads: bool

    @classmethod
    def of(cls, tracer: Tracer | None, *, steps: bool, payloads: bool) -> Spans:
        """With the global tracer provider's tracer if none is given; payloads imply steps. Raises TypeError."""
        if tracer is None:
            tracer = trace.get_tracer("noukai-sdk", __version__)
        elif not isinstance(tracer, Tracer):
            raise TypeError(f"tracer must be an OpenTelemetry Tracer, not {type(tracer).__name__}")
        return cls(tracer, steps or payloads, payloads)

    def observe(self, call: str, name: tuple[str, ...], version: Version) -> Observe:
        """An observer for conversations of this kind, such as "execute", with this flow."""
        return partial(self._observed, call, name, version)

    def _observed(
        self, call: str, name: tuple[str, ...], version: Version, conversation: Conversation[T]
    ) -> Generator[Effect, Any, T]:
        span = self.tracer.start_span(
            f"noukai.flow.{call}",
            kind=SpanKind.CLIENT,
            attributes={
                "noukai.org": name[0],
                "noukai.project": name[1],
                "noukai.flow.slug": name[2],
                "noukai.flow.version": str(version),
            },
        )
        seen = _Seen(span)
        try:
            result = yield from _followed(conversation, seen)
            seen.learn(getattr(result, "execution_id", None), getattr(result, "status", None))
            if self.steps and seen.is_live and seen.execution_id and seen.status in {"completed", "failed"}:
                path = flow_path(name, "production", f"runs/{segment(seen.execution_id, 'execution_id')}/trace")
                yield from self._add_steps(path, span, is_stream=result is None)
            return result
        except Exception as error:
            seen.fail(error)
            raise
        finally:
            span.end()

    def _add_steps(self, path: str, span: Span, *, is_stream: bool) -> Generator[Effect, Any, None]:
        try:
            body = yield from _body_of(
                Send("GET", path, timeout=_TRACE_TIMEOUT_SECONDS, stream=is_stream, headers=_propagated(span))
            )
            add_step_spans(self.tracer, span, body, with_payloads=self.payloads)
        except Exception:  # noqa: BLE001 -- the run has ended well and was paid for; its trace is an extra
            _log.debug("no step spans for %s", path, exc_info=True)


def _followed(conversation: Conversation[T], seen: _Seen) -> Generator[Effect, Any, T]:
    """The same conversation: its requests carry the span's context, and what it delivers is noted."""
    headers = _propagated(seen.span)
    outcome: Any = None
    error: Exception | None = None
    try:
        while True:
            try:
                effect = conversation.send(outcome) if error is None else conversation.throw(error)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            outcome = error = None
            match effect:
                case Send():
                    seen.is_live = seen.is_live or effect.method == "POST"
                    effect = replace(effect, headers=(*effect.headers, *headers))
                case Call():
                    effect = replace(effect, function=partial(_call_within, seen, effect.function))
                case Deliver():
                    seen.learn_from(effect)
            try:
                outcome = yield effect
            except Exception as failure:  # noqa: BLE001 -- it is the conversation's
                error = failure
    finally:
        conversation.close()


def _body_of(send: Send) -> Generator[Effect, Any, bytes]:
    """The body of a reply, also where the driver can only stream. Empty if the status is not 200."""
    reply = yield send
    body: bytes | None = reply.body
    if body is None:
        chunks = []
        while (chunk := (yield READ)) is not None:
            chunks.append(chunk)
        body = b"".join(chunks)
    return body if reply.status == 200 else b""


def _propagated(span: Span) -> tuple[tuple[str, str], ...]:
    # W3C's alone, whatever the application propagates elsewhere: baggage may hold what is not the service's business.
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context=trace.set_span_in_context(span))
    return tuple(carrier.items())


def _call_within(seen: _Seen, function: Callable[[Any], Any], argument: Any) -> Any:
    with _current(seen):
        value = function(argument)
    return _Awaited(seen, value) if inspect.isawaitable(value) else value


class _Awaited(Awaitable[Any]):
    """Something awaitable, with the span current while it runs."""

    def __init__(self, seen: _Seen, value: Awaitable[Any]) -> None:
        self._seen = seen
        self._value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        with _current(self._seen):
            return (yield from self._value.__await__())

    def close(self) -> None:
        if inspect.iscoroutine(self._value):
            self._value.close()


@contextmanager
def _current(seen: _Seen) -> Iterator[None]:
    with trace.use_span(seen.span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as error:
            # The driver raises it past the conversation, which could not record it.
            seen.fail(error)
            raise
