"""Requests: what the log hears of them, which are sent again, and how long they may take (WIRE.md 6.3, 6.4, 6.7)."""

from __future__ import annotations

from typing import Any

from noukai_sdk import APIConnectionError, APITimeoutError, FlowExecutionError, NoukaiError, RateLimitError

from .clients import ECHO, environment
from .stage import Side, asked, caught, done, items, order, scenario

NO_RUN = "00000000-0000-4000-8000-000000000000"


@scenario(
    [
        {"phase": "request", "method": "POST", "path": "/seq/acme/compat/echo/execute", "attempt": 0},
        {
            "phase": "response",
            "method": "POST",
            "path": "/seq/acme/compat/echo/execute",
            "status_code": 200,
            "request_id": "<id 1>",
            "attempt": 0,
        },
        {"phase": "request", "method": "POST", "path": "/seq/acme/compat/echo/step", "attempt": 0, "streaming": True},
        {
            "phase": "response",
            "method": "POST",
            "path": "/seq/acme/compat/echo/step",
            "status_code": 200,
            "request_id": "<id 2>",
            "attempt": 0,
            "streaming": True,
        },
        {"phase": "request", "method": "GET", "path": "/seq/acme/compat/echo/runs/<id 3>/trace", "attempt": 0},
        {
            "phase": "response",
            "method": "GET",
            "path": "/seq/acme/compat/echo/runs/<id 3>/trace",
            "status_code": 200,
            "request_id": "<id 4>",
            "attempt": 0,
        },
        {
            "phase": "request",
            "method": "GET",
            "path": "/seq/acme/compat/echo/runs/<id 3>/trace/stream",
            "attempt": 0,
            "streaming": True,
        },
        {
            "phase": "response",
            "method": "GET",
            "path": "/seq/acme/compat/echo/runs/<id 3>/trace/stream",
            "status_code": 200,
            "request_id": "<id 5>",
            "attempt": 0,
            "streaming": True,
        },
        {"phase": "request", "method": "POST", "path": "/seq/acme/compat/echo/execute", "attempt": 0},
        {
            "phase": "response",
            "method": "POST",
            "path": "/seq/acme/compat/echo/execute",
            "status_code": 400,
            "request_id": "<id 6>",
            "attempt": 0,
        },
    ]
)
async def the_log(side: Side) -> Any:
    log: list[dict[str, Any]] = []
    flow = side.flow(ECHO, log_handler=log.append, max_retries=0)
    outcome = await done(flow.execute("x"))
    await items(flow.steps("x"))
    await done(flow.run(outcome.execution_id).trace())
    await items(flow.run(outcome.execution_id).live_trace())
    await caught(NoukaiError, flow.execute)
    return log


@scenario(
    [
        [
            "request",
            {"message": "x", "parameters": {}, "iterationsUsed": 0, "accumulatedOutputs": {}, "trace": False},
            None,
        ],
        [
            "response",
            None,
            {
                "flowId": "<id 1>",
                "blockCount": 1,
                "executionId": "<id 2>",
                "status": "completed",
                "result": {"message": "x", "parameters": {}, "input": "x"},
            },
        ],
        ["request", None, None],
        ["response", None, None],
    ]
)
async def the_log_with_payloads(side: Side) -> Any:
    """Requests and responses have their bodies, streams have none."""
    log: list[dict[str, Any]] = []
    flow = side.flow(ECHO, log_handler=log.append, log_payloads=True)
    await done(flow.execute("x"))
    await items(flow.steps("x"))
    return [[entry["phase"], entry.get("request_body"), entry.get("response_body")] for entry in log]


@scenario({"caught": "LookupError", "asked": 0})
async def a_log_handler_that_raises(side: Side) -> Any:
    def broken(entry: Any) -> None:
        raise LookupError("no disk")

    flow = side.flow(ECHO, log_handler=broken)
    return await caught(LookupError, lambda: flow.execute("x")) | {"asked": len(asked())}


@scenario(
    [
        "completed",
        [["trace", 503, "INTERNAL_ERROR"], ["trace", 200, None]],
        [["request", 0], ["response", 0], ["request", 1], ["response", 1]],
    ]
)
async def reading_is_retried(side: Side) -> Any:
    """Once by default, about a second later; the log shows it as attempt 1."""
    log: list[dict[str, Any]] = []
    flow = side.flow(ECHO, log_handler=log.append)
    outcome = await done(flow.execute("x"))
    order(endpoint="trace", status=503)
    trace = await done(flow.run(outcome.execution_id).trace())
    return [trace.flow_run.status, asked("reads"), [[entry["phase"], entry["attempt"]] for entry in log[2:]]]


@scenario(
    {"caught": "FlowExecutionError", "status_code": 500, "code": "INTERNAL_ERROR", "request_id": "<id 1>", "asked": 2}
)
async def reading_is_given_up(side: Side) -> Any:
    order(endpoint="trace", status=500, times=5)
    run = side.flow(ECHO).run(NO_RUN)
    return await caught(FlowExecutionError, run.trace) | {"asked": len(asked("reads"))}


@scenario(
    {"caught": "FlowExecutionError", "status_code": 501, "code": "INTERNAL_ERROR", "request_id": "<id 1>", "asked": 1}
)
async def statuses_that_are_final(side: Side) -> Any:
    order(endpoint="trace", status=501, times=5)
    run = side.flow(ECHO).run(NO_RUN)
    return await caught(FlowExecutionError, run.trace) | {"asked": len(asked("reads"))}


@scenario(
    {"caught": "FlowExecutionError", "status_code": 503, "code": "INTERNAL_ERROR", "request_id": "<id 1>", "asked": 2}
)
async def no_retries(side: Side) -> Any:
    order(endpoint="trace", status=503, times=5)
    run = side.flow(ECHO, max_retries=0).run(NO_RUN)
    return await caught(FlowExecutionError, run.trace) | {"asked": len(asked("reads"))}


@scenario("APIConnectionError")
async def reading_over_a_connection_that_is_cut(side: Side) -> Any:
    flow = side.flow(ECHO)
    outcome = await done(flow.execute("x"))
    order(endpoint="trace", cut_before_work=True)
    try:
        return (await done(flow.run(outcome.execution_id).trace())).flow_run.status
    except NoukaiError as error:
        return type(error).__name__


@scenario([["RateLimitError", "FlowExecutionError"], 2])
async def put_off_by_the_server(side: Side) -> Any:
    """429, and 503 with Retry-After, say that nothing was done: are they tried again?"""
    flow, seen = side.flow(ECHO), []
    for status in (429, 503):
        order(endpoint="execute", status=status, retry_after=0.1)
        try:
            seen.append((await done(flow.execute("x"))).status)
        except (RateLimitError, FlowExecutionError) as error:
            seen.append(type(error).__name__)
    return [seen, len(asked())]


@scenario({"caught": "APIConnectionError"})
async def no_time_for_a_call(side: Side) -> Any:
    flow = side.flow(ECHO)
    return await caught(APIConnectionError, lambda: flow.execute("x", timeout=0))


@scenario({"returned": "ExecuteResult"})
async def no_time_for_a_client(side: Side) -> Any:
    flow = side.flow(ECHO, timeout=0)
    return await caught(APITimeoutError, lambda: flow.execute("x"))


@scenario("APIConnectionError")
async def a_proxy_for_the_world_outside(side: Side) -> Any:
    """It must not see a key that is meant for this machine. Nobody listens at its address."""
    with environment(HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9"):
        try:
            return (await done(side.flow(ECHO).execute("x"))).status
        except NoukaiError as error:
            return type(error).__name__
