"""OpenTelemetry: spans of calls and streams, their context on the wire, the steps of a run (WIRE.md 6.8)."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from noukai_sdk import APIConnectionError, AsyncNoukai, FlowExecutionError, Noukai, ToolCallLimitError
from noukai_sdk.testing import Exchange, ScriptedTransport
from tests.support.recordings import SESSION, Stage, run, session, step

DONE = {"status": "completed", "result": 1, "flowId": "F", "blockCount": 1, "executionId": "E"}
PAUSED = {
    "status": "tool_calls_required",
    "executionId": "E",
    "pausedAtStep": "s1",
    "iterationsUsed": 1,
    "toolCallMessages": [],
    "toolCalls": [{"id": "c1"}],
    "flowId": "F",
    "blockCount": 1,
}
RESULT = {"role": "tool", "toolCallId": "c1", "content": "ok"}
STEPS = [
    {
        "stepId": "s1",
        "attempt": 1,
        "status": "completed",
        "startedAt": "2026-01-01T00:00:00Z",
        "completedAt": "2026-01-01T00:00:01.5Z",
        "durationMs": 1500,
        "modelUsed": "m",
        "tokens": {"prompt": 3, "completion": 4, "total": 7},
        "costUsd": "0.1",
        "loopIndex": 2,
        "inputContext": {"a": 1},
        "outputContext": {"b": "x" * 5000},
    },
    {"stepId": "s2", "attempt": 2, "status": "failed", "errorContext": {"code": "X", "message": "boom"}},
]
TRACE = {"flowRun": {"id": "E"}, "steps": STEPS}
FLOW = {"noukai.org": "acme", "noukai.project": "it", "noukai.flow.slug": "two-step"}


class Recorded:
    """A tracer, and the spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        assert len(self.spans) == 1
        return self.spans[0]

    @property
    def options(self) -> dict[str, Any]:
        return {"tracer": self.tracer}


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    recorded = Recorded()
    yield recorded
    recorded.provider.shutdown()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def traceparent(span: ReadableSpan) -> str:
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def test_a_call_is_a_span_and_its_request_carries_the_context(side: Any, recorded: Recorded) -> None:
    _, transport = side.execute([Exchange.json(DONE)], "hi", options=recorded.options, version=3)
    span = recorded.span
    assert (span.name, span.kind, span.parent) == ("noukai.flow.execute", SpanKind.CLIENT, None)
    assert attributes(span) == {
        **FLOW,
        "noukai.flow.version": "3",
        "noukai.execution_id": "E",
        "noukai.flow.status": "completed",
    }
    assert span.status.status_code is StatusCode.UNSET
    assert transport.requests[0].headers["traceparent"] == traceparent(span)
    assert transport.requests[0].headers["authorization"] == "Bearer nk_test"


def test_a_call_is_a_child_of_the_current_span(side: Any, recorded: Recorded) -> None:
    with recorded.tracer.start_as_current_span("outer") as outer:
        side.execute([Exchange.json(DONE)], "hi", options=recorded.options)
    parent = recorded.spans[0].parent
    assert parent is not None
    assert parent.span_id == outer.get_span_context().span_id


def test_the_state_of_the_caller_s_trace_is_sent_on_but_not_its_baggage(side: Any, recorded: Recorded) -> None:
    from opentelemetry import baggage, context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

    remote = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("vendor", "x")]))
    token = context.attach(baggage.set_baggage("secret", "s", trace.set_span_in_context(NonRecordingSpan(remote))))
    try:
        _, transport = side.execute([Exchange.json(DONE)], "hi", options=recorded.options)
    finally:
        context.detach(token)
    assert transport.requests[0].headers["tracestate"] == "vendor=x"
    assert "baggage" not in transport.requests[0].headers


def test_a_failure_is_recorded_once(side: Any, recorded: Recorded) -> None:
    body = {"detail": {"code": "INTERNAL_ERROR", "message": "broken", "executionId": "E9"}}
    with pytest.raises(FlowExecutionError):
        side.execute([Exchange.json(body, 500)], "hi", options=recorded.options)
    span = recorded.span
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "broken")
    assert [event.name for event in span.events] == ["exception"]
    assert attributes(span)["noukai.execution_id"] == "E9"


@pytest.mark.parametrize("call", ["execute", "events"])
def test_a_request_that_cannot_be_written_is_recorded_too(side: Any, recorded: Recorded, call: str) -> None:
    def act() -> None:
        if call == "execute":
            side.execute([], parameters={"x": object()}, options=recorded.options)
        else:
            played = side.play([], parameters={"x": object()}, options=recorded.options)
            assert played.error is not None
            raise played.error

    with pytest.raises(ValueError, match="JSON"):
        act()
    assert recorded.span.status.status_code is StatusCode.ERROR
    assert [event.name for event in recorded.span.events] == ["exception"]


def test_a_failed_flow_is_a_failed_span_without_an_exception(side: Any, recorded: Recorded) -> None:
    side.execute([Exchange.json({**DONE, "status": "failed"})], "hi", options=recorded.options)
    assert attributes(recorded.span)["noukai.flow.status"] == "failed"
    assert recorded.span.status.status_code is StatusCode.ERROR
    assert not recorded.span.events


def test_tool_rounds_are_one_span_which_is_current_for_the_tool_handler(side: Any, recorded: Recorded) -> None:
    seen: list[int] = []

    def answer(_: Any) -> list[dict[str, Any]]:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return [RESULT]

    async def answer_later(calls: Any) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        return answer(calls)

    exchanges = [Exchange.json(PAUSED), Exchange.json(DONE)]
    handler = answer if side.kind == "sync" else answer_later
    _, transport = side.execute(exchanges, "hi", tool_handler=handler, options=recorded.options)
    assert seen == [recorded.span.context.span_id]
    assert {request.headers["traceparent"] for request in transport.requests} == {traceparent(recorded.span)}
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.parametrize("call", ["execute", "events"])
def test_what_the_tool_handler_raises_is_recorded_once(
    side: Any, recorded: Recorded, tool_pause: list[Exchange], call: str
) -> None:
    def answer(_: Any) -> Any:
        raise ZeroDivisionError("no tools today")

    async def answer_later(calls: Any) -> Any:
        return answer(calls)

    handler: Any = answer if side.kind == "sync" else answer_later
    if call == "execute":
        with pytest.raises(ZeroDivisionError):
            side.execute([Exchange.json(PAUSED)], "hi", tool_handler=handler, options=recorded.options)
    else:
        assert isinstance(
            side.play(tool_pause, "hi", tool_handler=handler, options=recorded.options).error, ZeroDivisionError
        )
    assert recorded.span.status.description == "no tools today"
    assert [event.name for event in recorded.span.events] == ["exception"]


def test_an_async_handler_that_a_sync_client_meets_late_is_closed(recorded: Recorded) -> None:
    async def answer() -> list[dict[str, Any]]:
        return [RESULT]

    transport = ScriptedTransport([Exchange.json(PAUSED)])
    client = Noukai(
        "nk_x",
        base_url="http://localhost",
        http_client=httpx.Client(transport=transport),
        tracer=recorded.tracer,
    )
    with pytest.raises(TypeError, match="AsyncNoukai"):
        client.flow("acme/it/two-step").execute("hi", tool_handler=lambda _: answer())  # type: ignore[arg-type, return-value]


def test_too_many_tool_rounds_name_the_run(side: Any, recorded: Recorded) -> None:
    with pytest.raises(ToolCallLimitError):
        side.execute(
            [Exchange.json(PAUSED)], tool_handler=lambda _: [RESULT], max_tool_rounds=0, options=recorded.options
        )
    assert attributes(recorded.span)["noukai.execution_id"] == "E"


def test_a_pause_and_its_resume_are_two_spans(side: Any, recorded: Recorded) -> None:
    paused, _ = side.execute([Exchange.json(PAUSED), Exchange.json(DONE)], "hi", options=recorded.options)
    assert attributes(recorded.span)["noukai.flow.status"] == "tool_calls_required"
    side.resume(paused, [RESULT])
    assert [attributes(span)["noukai.flow.status"] for span in recorded.spans] == ["tool_calls_required", "completed"]
    assert [span.name for span in recorded.spans] == ["noukai.flow.execute"] * 2


@pytest.mark.parametrize("method", ["steps", "events"])
def test_a_stream_is_a_span_over_all_its_requests(
    side: Any, recorded: Recorded, two_steps: list[Exchange], method: str
) -> None:
    played = side.play(two_steps, "hi", method=method, options=recorded.options)
    span = recorded.span
    assert (played.error, span.name) == (None, f"noukai.flow.{method}")
    assert attributes(span) == {
        **FLOW,
        "noukai.flow.version": "production",
        "noukai.execution_id": "E",
        "noukai.flow.status": "completed",
    }
    assert [request.headers["traceparent"] for request in played.transport.requests] == [traceparent(span)] * 2


def test_a_stream_that_breaks_off_or_fails_is_a_failed_span(
    side: Any, recorded: Recorded, frame: Callable[..., bytes]
) -> None:
    side.play([Exchange(chunks=[frame("run_started", executionId="E"), httpx.ReadError("gone")])], **_options(recorded))
    assert [event.name for event in recorded.spans[0].events] == ["exception"]
    assert attributes(recorded.spans[0])["noukai.execution_id"] == "E"
    side.play([Exchange(chunks=[frame("step_error", stepId="s", error={"code": "X"})])], **_options(recorded))
    assert attributes(recorded.spans[1])["noukai.flow.status"] == "failed"
    assert [span.status.status_code for span in recorded.spans] == [StatusCode.ERROR] * 2


def test_an_unanswered_tool_pause_is_the_status_of_a_stream(
    side: Any, recorded: Recorded, tool_pause: list[Exchange]
) -> None:
    side.play(tool_pause[:1], **_options(recorded))
    assert attributes(recorded.span)["noukai.flow.status"] == "tool_calls_required"


def _options(recorded: Recorded) -> dict[str, Any]:
    return {"options": recorded.options}


@pytest.mark.parametrize("ending", ["close", "with", "forget", "another thread"])
def test_a_stream_that_is_left_ends_its_span_without_an_error(
    recorded: Recorded, one_response: list[Exchange], ending: str
) -> None:
    http = httpx.Client(transport=ScriptedTransport(one_response))
    client = Noukai("nk_x", base_url="http://localhost", http_client=http, tracer=recorded.tracer)
    stream = client.flow("acme/it/two-step").events("hi")
    next(stream)
    # Nothing is left behind in the context of whoever iterates.
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert not recorded.spans
    if ending == "close":
        stream.close()
    elif ending == "with":
        with stream:
            pass
    elif ending == "another thread":
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join()
    else:
        del stream
        gc.collect()
    assert recorded.span.status.status_code is StatusCode.UNSET
    assert attributes(recorded.span)["noukai.execution_id"] == "E"


def test_a_cancelled_call_ends_its_span(recorded: Recorded) -> None:
    class Hangs(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    async def main() -> None:
        http = httpx.AsyncClient(transport=Hangs())
        client = AsyncNoukai("nk_x", base_url="http://localhost", http_client=http, tracer=recorded.tracer)
        task = asyncio.create_task(client.flow("acme/it/two-step").execute("hi"))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert cancelled.value.__traceback__
        assert recorded.span.status.status_code is StatusCode.UNSET

    asked = asyncio.Event()
    asyncio.run(main())


def test_an_interrupted_call_ends_its_span(recorded: Recorded) -> None:
    class Interrupted(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            raise KeyboardInterrupt

    http = httpx.Client(transport=Interrupted())
    client = Noukai("nk_x", base_url="http://localhost", http_client=http, tracer=recorded.tracer)
    # Whoever keeps the exception keeps the conversation alive, not its span.
    with pytest.raises(KeyboardInterrupt) as interrupt:
        client.flow("acme/it/two-step").execute("hi")
    assert interrupt.value.__traceback__
    assert recorded.span.status.status_code is StatusCode.UNSET


def test_retries_stay_within_the_span(side: Any, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noukai_sdk._protocol.retry.random.uniform", lambda *_: 0.0)
    _, transport = side.execute(
        [Exchange(error=httpx.ConnectError("refused")), Exchange.json(DONE)],
        "hi",
        options={**recorded.options, "max_retries": 1},
    )
    assert [request.headers["traceparent"] for request in transport.requests] == [traceparent(recorded.span)] * 2


def steps_of(recorded: Recorded) -> list[ReadableSpan]:
    *steps, last = recorded.spans
    assert [span.name for span in steps] == ["noukai.flow.step"] * len(steps)
    assert [span.parent.span_id for span in steps if span.parent] == [last.context.span_id] * len(steps)
    return steps


@pytest.mark.parametrize("call", ["execute", "events"])
def test_steps_of_a_finished_run_become_spans_of_their_own_time(
    side: Any, recorded: Recorded, one_response: list[Exchange], call: str
) -> None:
    options = {**recorded.options, "otel_steps": True}
    fetched = Exchange.json(TRACE)
    if call == "execute":
        _, transport = side.execute([Exchange.json(DONE), fetched], "hi", options=options, version=2)
    else:
        transport = side.play([*one_response, fetched], "hi", options=options, version=2).transport
    first, second = steps_of(recorded)
    request = transport.requests[-1]
    assert (request.method, request.url.path) == ("GET", "/api/v1/seq/acme/it/two-step/runs/E/trace")
    assert request.headers["traceparent"] == traceparent(recorded.spans[-1])
    assert attributes(first) == {
        "noukai.step.id": "s1",
        "noukai.step.attempt": 1,
        "noukai.step.status": "completed",
        "noukai.step.duration_ms": 1500,
        "noukai.step.loop_index": 2,
        "noukai.step.cost_usd": "0.1",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
    }
    assert (first.kind, first.status.status_code) == (SpanKind.INTERNAL, StatusCode.UNSET)
    assert (first.start_time, first.end_time) == (1767225600_000000000, 1767225601_500000000)
    assert (second.status.status_code, second.status.description) == (StatusCode.ERROR, "boom")
    assert all(exchange.closed or exchange.drained for exchange in transport.exchanges)


class _Service(BaseHTTPRequestHandler):
    """One step stream and its trace, on a socket."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(b'event: run_started\ndata: {"executionId": "E"}\n\nevent: flow_completed\ndata: {"result": 1}\n\n')

    def do_GET(self) -> None:
        self._say(json.dumps(TRACE).encode())

    def _say(self, body: bytes) -> None:
        self.server.callers.append(self.client_address)  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        server.callers = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_trace_of_a_stream_comes_over_the_stream_s_connection(
    side: Any, recorded: Recorded, service: ThreadingHTTPServer
) -> None:
    url = f"http://127.0.0.1:{service.server_port}"
    options: dict[str, Any] = {"api_key": "nk_x", "base_url": url, "otel_steps": True, **recorded.options}

    async def iterate() -> None:
        async with AsyncNoukai(**options) as client:
            assert [event.event_type async for event in client.flow("a/b/c").events("hi")][-1] == "flow_completed"

    if side.kind == "sync":
        with Noukai(**options) as client:
            assert [event.event_type for event in client.flow("a/b/c").events("hi")][-1] == "flow_completed"
    else:
        asyncio.run(iterate())
    assert len(steps_of(recorded)) == 2
    callers = service.callers  # type: ignore[attr-defined]
    assert (len(callers), len(set(callers))) == (2, 1)


def test_payloads_of_steps_are_cut(side: Any, recorded: Recorded) -> None:
    options = {**recorded.options, "otel_step_payloads": True}
    side.execute([Exchange.json(DONE), Exchange.json(TRACE)], "hi", options=options)
    first, second = map(attributes, steps_of(recorded))
    assert first["noukai.step.input"] == '{"a": 1}'
    assert first["noukai.step.output"] == ('{"b": "' + "x" * 5000)[:4096]
    assert json.loads(second["noukai.step.error"]) == {"code": "X", "message": "boom"}


@pytest.mark.parametrize(
    "answer",
    [
        Exchange.json(TRACE, 404),
        Exchange(error=httpx.ReadError("gone")),
        Exchange(chunks=[b'{"steps": [{"stepId"', httpx.ReadError("gone")]),
        Exchange(chunks=[b"<html>"]),
        Exchange.json([1]),
        Exchange.json({"steps": [None, 1]}),
    ],
    ids=["404", "no answer", "cut off", "not JSON", "not an object", "not steps"],
)
@pytest.mark.parametrize("call", ["execute", "events"])
def test_a_trace_that_does_not_come_costs_nothing(
    side: Any, recorded: Recorded, one_response: list[Exchange], answer: Exchange, call: str
) -> None:
    options = {**recorded.options, "otel_steps": True}
    if call == "execute":
        result, _ = side.execute([Exchange.json(DONE), answer], "hi", options=options)
        assert result.output == 1
    else:
        played = side.play([*one_response, answer], "hi", options=options)
        assert (played.error, played.types[-1]) == (None, "flow_completed")
    assert recorded.span.status.status_code is StatusCode.UNSET


def test_odd_fields_of_a_step_cost_only_themselves(
    side: Any, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [
        {
            "stepId": 7,
            "status": {},
            "modelUsed": [],
            "attempt": None,
            "tokens": [],
            "startedAt": "yesterday",
            "completedAt": 5,
            "durationMs": "x",
        },
        {"startedAt": "2026-01-01T00:00:10", "completedAt": "2026-01-01T00:00:00Z", "tokens": {"prompt": "many"}},
        {"startedAt": "2026-01-01T00:00:10Z", "durationMs": 250},
    ]
    options = {**recorded.options, "otel_steps": True}
    side.execute([Exchange.json(DONE), Exchange.json({"steps": odd})], "hi", options=options)
    first, second, third = steps_of(recorded)
    assert attributes(first) == {"noukai.step.id": 7, "noukai.step.duration_ms": "x"}
    assert second.start_time == second.end_time == 1767225610_000000000
    assert third.end_time == 1767225610_250000000
    assert not caplog.messages


def test_no_trace_is_fetched_for_a_pause(side: Any, recorded: Recorded) -> None:
    _, transport = side.execute([Exchange.json(PAUSED)], "hi", options={**recorded.options, "otel_steps": True})
    assert len(transport.requests) == 1
    assert attributes(recorded.span)["noukai.flow.status"] == "tool_calls_required"


def test_a_run_that_is_played_back_is_a_span_and_nobody_is_asked_for_its_trace(
    side: Any, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOUKAI_REPLAY_ENABLED", "1")

    async def script() -> None:
        recording = session(run("E1", "execute", step("a", 1)), run("E2", "step", step("a", 1)))
        stage = Stage(side, [recording], **recorded.options, otel_steps=True)
        async with stage.replaying():
            await stage.execute("hi")
            await stage.all(stage.flow.events("hi"))
        assert [path for _, path, _ in stage.sent] == [f"/seq/sessions/{SESSION}"]

    asyncio.run(script())
    assert [(span.name, attributes(span)["noukai.execution_id"]) for span in recorded.spans] == [
        ("noukai.flow.execute", "E1"),
        ("noukai.flow.events", "E2"),
    ]


def test_otel_alone_uses_the_global_tracer_provider(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded()
    asked: list[Any] = []
    monkeypatch.setattr(trace, "get_tracer", lambda *name: asked.append(name) or recorded.tracer)
    side.execute([Exchange.json(DONE)], "hi", options={"otel": True})
    assert asked[0][0] == "noukai-sdk"
    assert recorded.span.name == "noukai.flow.execute"


def test_something_else_than_a_tracer_is_refused(side: Any) -> None:
    with pytest.raises(TypeError, match="tracer"):
        side.client(ScriptedTransport([]), tracer="noukai")


def test_without_otel_nothing_is_wrapped_or_sent(side: Any) -> None:
    _, transport = side.execute([Exchange.json(DONE)], "hi")
    assert "traceparent" not in transport.requests[0].headers
    flow = side.client(ScriptedTransport([])).flow("a/b/c")
    assert flow._observe("execute", "production") is None


def test_a_queued_run_is_a_span_of_its_submission(side: Any, recorded: Recorded) -> None:
    accepted = {"executionId": "E", "status": "started", "flowId": "F", "blockCount": 1}
    transport = ScriptedTransport([Exchange.json(accepted, 202)])
    submitted = side.client(transport, **recorded.options).flow("acme/it/two-step").execute_async("hi")
    if side.kind == "async":
        asyncio.run(_awaited(submitted))
    span = recorded.span
    assert (span.name, span.kind) == ("noukai.flow.execute_async", SpanKind.CLIENT)
    assert attributes(span)["noukai.execution_id"] == "E"
    assert transport.requests[0].headers["traceparent"] == traceparent(span)


async def _awaited(value: Any) -> Any:
    return await value


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, timeout=60, text=True, check=False
    )
    return done.stdout + done.stderr


def test_opentelemetry_is_not_imported_unless_asked_for() -> None:
    look = "import sys; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    assert _python(f"import noukai_sdk; noukai_sdk.Noukai('nk_x').flow('a/b/c'); {look}") == "[]\n"
    assert "opentelemetry.trace" in _python(f"import noukai_sdk; noukai_sdk.Noukai('nk_x', otel=True); {look}")


@pytest.mark.parametrize("option", ["otel", "otel_steps", "otel_step_payloads"])
def test_a_missing_package_is_said_at_construction(option: str) -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\nimport noukai_sdk\n"
        f"try: noukai_sdk.Noukai('nk_x', {option}=True)\nexcept noukai_sdk.NoukaiError as error: print(error)"
    )
    assert "noukai-worker[otel]" in _python(code)


def test_headers_of_a_request_never_replace_the_client_s_own() -> None:
    from noukai_sdk._protocol.effects import Send

    connection = Noukai("nk_x", base_url="http://localhost", http_client=httpx.Client())._connection
    own = connection.request(Send("POST", "/p", {}, "session"))
    names = [*own.headers, "Cookie", "X-Request-ID", "Transfer-Encoding"]
    sent = connection.request(
        Send("POST", "/p", {}, "session", headers=(*((name.upper(), "forged") for name in names), ("traceparent", "t")))
    )
    assert sorted(sent.headers.multi_items()) == sorted([*own.headers.multi_items(), ("traceparent", "t")])


def test_a_connection_error_is_recorded(side: Any, recorded: Recorded) -> None:
    with pytest.raises(APIConnectionError):
        side.execute([Exchange(error=httpx.ConnectError("refused"))], options=recorded.options)
    assert recorded.span.status.status_code is StatusCode.ERROR
