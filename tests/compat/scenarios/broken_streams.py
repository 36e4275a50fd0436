"""Streams that break off, fall silent, or bring what cannot be read (WIRE.md 8.3, 8.5, 8.6, 8.18)."""

from __future__ import annotations

from typing import Any

from noukai_sdk import APIConnectionError, APITimeoutError, FlowExecutionError, NoukaiError, RateLimitError

from .stage import Side, asked, brief, caught, control, items, order, scenario

TWO_STEPS = "acme/demo/two-step"


@scenario([{"escaped": "httpx.RemoteProtocolError"}, [], 1])
async def cut_off(side: Side) -> Any:
    order(endpoint="step", drop_after_events=2)
    events = side.flow(TWO_STEPS).events("x")
    return [await caught(APIConnectionError, lambda: items(events)), await items(events), len(asked())]


@scenario([{"escaped": "httpx.ReadError"}, 1])
async def reset(side: Side) -> Any:
    order(endpoint="step", drop_after_events=0, reset=True)
    steps = side.flow(TWO_STEPS).steps("x")
    return [await caught(APIConnectionError, lambda: items(steps)), len(asked())]


@scenario([{"escaped": "httpx.RemoteProtocolError"}, 1])
async def no_answer_at_all(side: Side) -> Any:
    order(endpoint="step", cut_before_work=True)
    steps = side.flow(TWO_STEPS).steps("x")
    return [await caught(APIConnectionError, lambda: items(steps)), len(asked())]


@scenario([{"escaped": "httpx.ReadTimeout"}, 1])
async def silence(side: Side) -> Any:
    order(endpoint="step", stall_after_events=2, seconds=5)
    events = side.flow(TWO_STEPS, timeout=0.3).events("x")
    return [await caught(APITimeoutError, lambda: items(events)), len(asked())]


@scenario([{"escaped": "TypeError"}, 0])
async def a_deadline(side: Side) -> Any:
    order(endpoint="step", stall_after_events=2, seconds=5)
    flow = side.flow(TWO_STEPS)
    return [await caught(APITimeoutError, lambda: items(flow.events("x", timeout=0.3))), len(asked())]


@scenario(
    [
        "run_started",
        "step_completed step-a 0",
        "step_paused 0",
        "step_started step-b 1",
        "step_completed step-b 1",
        "flow_completed",
    ]
)
async def an_unreadable_event_that_does_not_matter(side: Side) -> Any:
    order(endpoint="step", malformed_after_events=1)
    return [brief(seen) for seen in await items(side.flow(TWO_STEPS).events("x"))]


@scenario([{"returned": "list"}, [0, 0, 0, 0, 1]])
async def an_unreadable_step(side: Side) -> Any:
    """How often is a step asked for whose completion cannot be read? Three times here, as the server then relents."""
    order(endpoint="step", malformed_after_events=2)
    order(endpoint="step", malformed_after_events=1, times=2)
    steps = side.flow(TWO_STEPS).steps("x")
    refusal = await caught(APIConnectionError, lambda: items(steps))
    told = control("GET", "counts")["requests"]
    return [refusal, [request["step_index"] for request in told]]


@scenario({"returned": "list"})
async def an_unreadable_end(side: Side) -> Any:
    """The last event of a flow is lost: is the flow complete?"""
    order(endpoint="step", malformed_after_events=3)
    events = side.flow("acme/compat/echo").events("x")
    return await caught(APIConnectionError, lambda: items(events))


@scenario({"returned": "list"})
async def a_page_instead_of_a_stream(side: Side) -> Any:
    order(endpoint="step", status=200, body="<h1>Welcome</h1>")
    return await caught(NoukaiError, lambda: items(side.flow(TWO_STEPS).events("x")))


@scenario({"returned": "list"})
async def a_redirect_instead_of_a_stream(side: Side) -> Any:
    order(endpoint="step", status=307, body="over there")
    return await caught(NoukaiError, lambda: items(side.flow(TWO_STEPS).events("x")))


@scenario(
    [
        {"text": "a: x"},
        {"caught": "FlowExecutionError", "status_code": 500, "code": "INTERNAL_ERROR", "request_id": "<id 1>"},
        [],
    ]
)
async def a_failure_of_the_second_request(side: Side) -> Any:
    """What was delivered stands; the failure follows it."""
    order(endpoint="step", delay=0.001)
    order(endpoint="step", status=500, code="INTERNAL_ERROR")
    steps = side.flow(TWO_STEPS, max_retries=0).steps("x")
    first = await items(steps, at_most=1)
    return [first[0].output, await caught(FlowExecutionError, lambda: items(steps)), await items(steps)]


@scenario(["RATE_LIMIT", 429, None, 1])
async def a_refusal_for_now(side: Side) -> Any:
    order(endpoint="step", status=429, retry_after=7)
    try:
        await items(side.flow(TWO_STEPS, max_retries=0).steps("x"))
    except RateLimitError as error:
        return [error.code, error.status_code, error.retry_after, len(asked())]
