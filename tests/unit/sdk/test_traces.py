"""Runs: traces, traces of steps, live traces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from noukai_sdk import (
    APIConnectionError,
    APIResponseError,
    AsyncLiveTrace,
    AsyncRun,
    FlowNotFoundError,
    FrameTooLargeError,
    LiveTrace,
    NoukaiError,
    PermissionDeniedError,
    Run,
    StepAttempts,
    StepTrace,
    StreamInterruptedError,
    StreamTimeoutError,
    Trace,
)
from noukai_sdk._protocol.effects import Send, Sleep
from noukai_sdk._protocol.traces import TraceMachine, Traces
from noukai_sdk.testing import Exchange

STEP = {
    "stepId": "a",
    "attempt": 2,
    "loopIndex": 1,
    "status": "completed",
    "startedAt": "2026-01-01T00:00:00Z",
    "completedAt": "2026-01-01T00:00:01Z",
    "durationMs": 1000,
    "modelUsed": "m",
    "tokens": {"prompt": 1, "completion": 2, "total": 3},
    "costUsd": "0.1",
    "inputContext": {"x": 1},
    "outputContext": {"y": 2},
    "inputSizeBytes": 7,
    "outputSizeBytes": 8,
}
TRACE = {
    "flowRun": {"id": "E", "flowId": "F", "status": "completed", "triggerType": "execute", "stepCount": 1},
    "steps": [STEP],
}
BASE = b"/api/v1/seq/acme/it/two-step/runs/E%2F1"


def asked(side: Any, exchange: Exchange, method: str, *args: Any, **kwargs: Any) -> tuple[Any, httpx.Request]:
    flow, transport = side.flow([exchange])
    answer = side.get(getattr(flow.run("E/1"), method)(*args, **kwargs))
    return answer, transport.requests[0]


def watched(
    side: Any, exchanges: list[Exchange], *, batches: bool = False, **kwargs: Any
) -> tuple[list[Any], Any, Any]:
    """What a live trace gave, how it ended, and what was asked."""
    flow, transport = side.flow(exchanges)
    trace = flow.run("E/1").live_trace(**kwargs)
    assert transport.requests == []
    items: list[Any] = []
    try:
        if side.kind == "sync":
            items.extend(trace.batches() if batches else trace)
        else:

            async def collect() -> None:
                async for item in trace.batches() if batches else trace:
                    items.append(item)  # noqa: PERF401 -- what came before an error counts

            asyncio.run(collect())
    except NoukaiError as error:
        return items, error, transport
    return items, None, transport


def test_a_trace(side: Any) -> None:
    trace, request = asked(side, Exchange.json(TRACE), "trace", timeout=9.0)
    assert isinstance(trace, Trace)
    assert (trace.flow_run.id, trace.flow_run.trigger_type, trace.flow_run.step_count) == ("E", "execute", 1)
    step = trace.steps[0]
    assert (step.step_id, step.attempt, step.loop_index, step.duration_ms, step.cost_usd) == ("a", 2, 1, 1000, "0.1")
    assert step.tokens is not None
    assert (step.tokens.total, step.input_context, step.error_context, step.truncated) == (3, {"x": 1}, None, False)
    assert (request.method, request.url.raw_path, request.content) == ("GET", BASE + b"/trace", b"")
    assert set(request.extensions["timeout"].values()) == {9.0}


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, b""),
        ({"attempt": "latest"}, b""),
        ({"attempt": 2}, b"?attempt=2"),
        ({"loop_index": 0}, b"?loop_index=0"),
        ({"attempt": 1, "loop_index": 3}, b"?attempt=1&loop_index=3"),
    ],
)
def test_the_trace_of_a_step(side: Any, arguments: dict[str, Any], query: bytes) -> None:
    step, request = asked(side, Exchange.json(STEP), "step_trace", "s/../x?", timeout=9.0, **arguments)
    assert isinstance(step, StepTrace)
    assert step.model_used == "m"
    assert request.url.raw_path == BASE + b"/steps/s%2F..%2Fx%3F/trace" + query
    assert set(request.extensions["timeout"].values()) == {9.0}


def test_all_attempts_at_a_step(side: Any) -> None:
    body = {"stepId": "a", "attempts": [STEP, STEP]}
    attempts, request = asked(side, Exchange.json(body), "step_trace", "a", attempt="all", loop_index=1)
    assert isinstance(attempts, StepAttempts)
    assert [step.attempt for step in attempts.attempts] == [2, 2]
    assert request.url.raw_path == BASE + b"/steps/a/trace?attempt=all&loop_index=1"


@pytest.mark.parametrize("body", [[], {}, {"flowRun": 1, "steps": []}, {"steps": []}, {"status": "ok"}])
def test_answers_that_are_no_traces(side: Any, body: Any) -> None:
    for method, *args in (("trace",), ("step_trace", "a")):
        with pytest.raises(APIResponseError, match="is not"):
            asked(side, Exchange.json(body), method, *args)
    with pytest.raises(APIResponseError, match="is not"):
        asked(side, Exchange.json(body), "step_trace", "a", attempt="all")


def test_traces_are_asked_for_again_after_what_may_pass() -> None:
    traces = Traces("E", "/runs/E", max_retries=1)
    for conversation in (traces.whole(9.0), traces.of_step("a", "latest", None, 9.0), traces.live(1000)):
        first = next(conversation)
        assert isinstance(first, Send)
        assert isinstance(conversation.throw(APIConnectionError("reset")), Sleep)
        assert conversation.send(None) == replace(first, attempt=2)


def test_arguments_of_runs_are_checked_before_anything_is_sent(side: Any) -> None:
    flow, transport = side.flow([])
    for name in ("", ".", "..", None):
        with pytest.raises(ValueError, match="execution_id"):
            flow.run(name)
        with pytest.raises(ValueError, match="step_id"):
            side.get(flow.run("E").step_trace(name))
    for attempt in ("first", "2", -1, True, None, 1.5, ["all"]):
        with pytest.raises(ValueError, match="attempt"):
            side.get(flow.run("E").step_trace("a", attempt=attempt))
    for index in ("0", -1, True):
        with pytest.raises(ValueError, match="loop_index"):
            side.get(flow.run("E").step_trace("a", loop_index=index))
    with pytest.raises(ValueError, match="timeout"):
        flow.run("E").live_trace(timeout=-1)
    assert isinstance(flow.run("E"), Run if side.kind == "sync" else AsyncRun)
    assert (flow.run("E").execution_id, repr(flow.run("E"))) == ("E", f"{type(flow.run('E')).__name__}('E')")
    assert transport.requests == []


@pytest.fixture
def told(frame: Callable[..., bytes]) -> list[bytes]:
    """A run of two calls as a live trace tells it: indexes are the server's, and something follows flow_completed."""
    return [
        b": ping\n\n",
        frame("run_started", executionId="E", stepCount=2),
        frame("step_started", stepId="a", stepIndex=0),
        frame("step_completed", stepId="a", output=1, stepIndex=0),
        frame("step_paused", stepIndex=0),
        frame("step_progress", stepId="b"),
        b"event: step_completed\ndata: not JSON\n\n",
        frame("step_completed", stepId="b", output=2, stepIndex=1),
        frame("flow_completed", executionId="E", result=2),
        frame("step_output", stepId="b", outputData="late"),
    ]


TYPES = [
    "run_started",
    "step_started",
    "step_completed",
    "step_paused",
    "step_completed",
    "flow_completed",
    "step_output",
]


@pytest.mark.parametrize("size", [None, 1, 7])
def test_a_live_trace_tells_all_to_the_end_of_the_body(side: Any, told: list[bytes], size: int | None) -> None:
    whole = b"".join(told)
    chunks = [whole] if size is None else [whole[at : at + size] for at in range(0, len(whole), size)]
    exchange = Exchange(headers={"Content-Type": "text/event-stream"}, chunks=chunks)
    events, error, transport = watched(side, [exchange])
    assert error is None
    assert [event.event_type for event in events] == TYPES
    assert [event.step_index for event in events if hasattr(event, "step_index")] == [0, 0, 0, 1]
    request = transport.requests[0]
    assert (request.method, request.url.raw_path, request.content) == ("GET", BASE + b"/trace/stream", b"")
    assert (len(transport.requests), exchange.drained, exchange.closed) == (1, True, True)


def test_frames_of_a_live_trace_come_in_batches(side: Any, told: list[bytes]) -> None:
    batches, error, _ = watched(side, [Exchange(chunks=[b"".join(told[:4]), b"".join(told[4:])])], batches=True)
    assert error is None
    assert [[frame.type for frame in batch] for batch in batches] == [
        ["run_started", "step_started", "step_completed"],
        ["step_paused", "step_progress", "step_completed", "step_completed", "flow_completed", "step_output"],
    ]
    assert [frame.malformed for frame in batches[1]] == [False, False, True, False, False, False]
    assert all(frame.checkpoint is None for batch in batches for frame in batch)


def test_a_last_frame_without_its_blank_line_counts_if_it_is_whole(side: Any, frame: Callable[..., bytes]) -> None:
    last = frame("flow_completed", result=1)
    events, _, _ = watched(side, [Exchange(chunks=[last.rstrip(b"\n")])])
    assert [event.event_type for event in events] == ["flow_completed"]
    events, error, _ = watched(side, [Exchange(chunks=[last[:-8]])])
    assert (events, error) == ([], None)
    assert watched(side, [Exchange(chunks=[last[:-8]])], batches=True)[0] == []


def test_a_live_trace_without_events_is_empty(side: Any) -> None:
    assert watched(side, [Exchange(headers={"Content-Type": "text/event-stream; charset=utf-8"})])[:2] == ([], None)


def test_a_page_is_no_live_trace(side: Any) -> None:
    _, error, _ = watched(side, [Exchange(headers={"Content-Type": "text/html"}, chunks=[b"<html>"])])
    assert type(error) is APIResponseError


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [
        (httpx.ReadError("reset"), StreamInterruptedError, "broke off"),
        (httpx.RemoteProtocolError("cut"), StreamInterruptedError, "broke off"),
        (httpx.ReadTimeout("silence"), StreamTimeoutError, "fell silent"),
    ],
)
def test_a_live_trace_that_breaks_off_is_a_typed_error(
    side: Any, told: list[bytes], failure: Exception, kind: type[NoukaiError], text: str
) -> None:
    events, error, _ = watched(side, [Exchange(chunks=[told[1], failure])])
    assert [event.event_type for event in events] == ["run_started"]
    assert type(error) is kind
    assert text in str(error)
    assert str(error).endswith("ask for the live trace again, it begins with the run")
    assert (error.execution_id, error.checkpoint) == ("E/1", None)


@pytest.mark.parametrize(
    ("exchange", "kind"),
    [
        (Exchange.json({"detail": {"code": "RUN_NOT_FOUND", "message": "no"}}, 404), FlowNotFoundError),
        (Exchange.json({}, 403), PermissionDeniedError),
        (Exchange.json({}, 307, {"Location": "/x"}), APIResponseError),
        (Exchange(error=httpx.ConnectError("refused")), APIConnectionError),
    ],
)
def test_a_live_trace_that_does_not_begin_is_a_typed_error(
    side: Any, exchange: Exchange, kind: type[NoukaiError]
) -> None:
    events, error, _ = watched(side, [exchange])
    assert (events, type(error), error.execution_id) == ([], kind, "E/1")


def test_a_live_trace_has_a_deadline(side: Any, told: list[bytes]) -> None:
    _, error, transport = watched(side, [Exchange(chunks=told)], timeout=0)
    assert (type(error), error.code, transport.requests) == (StreamTimeoutError, "DEADLINE_CLIENT", [])
    assert "resume at" not in str(error)


def test_a_frame_that_is_too_large(side: Any, frame: Callable[..., bytes]) -> None:
    large = frame("step_output", stepId="a", outputData="x" * 100)
    events, error, _ = watched(side, [Exchange(chunks=[frame("run_started") + large])], max_frame_bytes=100)
    assert [event.event_type for event in events] == ["run_started"]
    assert isinstance(error, FrameTooLargeError)
    assert error.execution_id == "E/1"


def test_the_trace_machine_reads_whole_and_byte_by_byte(told: list[bytes]) -> None:
    body = b"".join(told)
    whole, by_byte = TraceMachine(1000), TraceMachine(1000)
    frames = [*whole.receive(body), *whole.end_of_body()]
    singles = [frame for at in range(len(body)) for frame in by_byte.receive(body[at : at + 1])]
    singles += by_byte.end_of_body()
    assert [(frame.type, frame.data) for frame in frames] == [(frame.type, frame.data) for frame in singles]
    assert (len(frames), whole.reading, whole.failure) == (9, False, None)


def test_a_live_trace_can_be_left(side: Any, told: list[bytes]) -> None:
    exchange = Exchange(chunks=told)
    flow, _ = side.flow([exchange])
    if side.kind == "sync":
        with flow.run("E").live_trace() as trace:
            assert isinstance(trace, LiveTrace)
            assert next(trace).event_type == "run_started"
        assert list(trace) == []
    else:

        async def leave() -> None:
            async with flow.run("E").live_trace() as trace:
                assert isinstance(trace, AsyncLiveTrace)
                assert (await anext(trace)).event_type == "run_started"
            assert [event async for event in trace] == []

        asyncio.run(leave())
    assert (exchange.closed, exchange.drained) == (True, False)
