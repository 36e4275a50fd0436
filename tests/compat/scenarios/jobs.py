"""Queued runs: handed in, polled, waited for (WIRE.md 5.1, 5.2)."""

from __future__ import annotations

import time
from typing import Any

from noukai_sdk import APITimeoutError, FlowNotFoundError, InsufficientCreditsError, NoukaiError

from .stage import BROKE_KEY, Side, asked, caught, control, done, order, scenario

ECHO = "acme/compat/echo"
GATED = "acme/compat/gated"


def status(seen: Any) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in ("execution_id", "status", "result", "error")}


async def until_running(job: Any) -> list[str]:
    """Polls until the job has begun; what it was seen as."""
    seen: list[str] = []
    for _ in range(1000):
        seen.append((await done(job.poll())).status)
        if seen[-1] == "running":
            break
    return sorted(set(seen))


@scenario(
    [
        [True, "<id 1>"],
        ["running", True],
        {"execution_id": "<id 2>", "status": "completed", "result": "2", "error": None},
        True,
    ]
)
async def from_submission_to_result(side: Side) -> Any:
    """Pending or running until its gate is opened; then completed, for whoever waits and whoever polls."""
    job = await done(side.flow(GATED).execute_async("job"))
    before = await until_running(job)
    control("POST", "gates/compat-job")
    ended = await done(job.wait(timeout=20, poll_interval=0.02))
    again = await done(job.poll(timeout=5))
    return [
        [job.execution_id == ended.execution_id, job.flow_id],
        [before[-1], set(before) <= {"pending", "running"}],
        status(ended),
        again == ended,
    ]


@scenario(
    [
        "/seq/acme/compat/echo/v0/jobs",
        {
            "message": "x",
            "parameters": {"p": None},
            "blockOverrides": {"say": {"prompt": "louder"}},
            "iterationsUsed": 0,
            "accumulatedOutputs": {},
            "trace": True,
        },
        "/seq/acme/compat/echo",
        {"message": "x", "parameters": {"p": None}, "input": "louder"},
    ]
)
async def what_is_handed_in(side: Side) -> Any:
    log: list[dict[str, Any]] = []
    flow = side.flow(ECHO, log_handler=log.append, log_payloads=True)
    overrides = {"say": {"prompt": "louder"}}
    job = await done(
        flow.execute_async("x", parameters={"p": None}, block_overrides=overrides, trace=True, version="draft")
    )
    ended = await done(job.wait(poll_interval=0.02))
    return [log[0]["path"], log[0]["request_body"], log[2]["path"].partition("/jobs/")[0], ended.result]


@scenario(["of-the-client", "of-the-call"])
async def sessions_of_jobs(side: Side) -> Any:
    await done(side.flow(ECHO, session_id="of-the-client").execute_async("x"))
    await done(side.flow(ECHO, session_id="of-the-client").execute_async("x", session_id="of-the-call"))
    return [request["session_id"] for request in control("GET", "counts")["requests"]]


@scenario([{"execution_id": "<id 1>", "status": "pending", "result": None, "error": None}, "completed"])
async def a_job_that_is_not_known_yet(side: Side) -> Any:
    """For five seconds a 404 means that the job is still to come."""
    job = await done(side.flow(ECHO).execute_async("x"))
    order(endpoint="poll", status=404, code="JOB_NOT_FOUND")
    first = await done(job.poll())
    return [status(first), (await done(job.wait(poll_interval=0.02))).status]


@scenario({"execution_id": "<id 1>", "status": "failed", "result": None, "error": "Busy."})
async def a_job_that_fails(side: Side) -> Any:
    """It is returned, not raised."""
    job = await done(side.flow("acme/compat/broken").execute_async("x"))
    return status(await done(job.wait(poll_interval=0.02)))


@scenario([{"caught": "APITimeoutError"}, "completed"])
async def waiting_for_too_long(side: Side) -> Any:
    job = await done(side.flow(GATED).execute_async("patience"))
    late = await caught(APITimeoutError, lambda: job.wait(timeout=0.15, poll_interval=0.05))
    control("POST", "gates/compat-patience")
    return [late, (await done(job.wait(poll_interval=0.02))).status]


@scenario({"caught": "APITimeoutError", "in time": False})
async def waiting_no_longer_than_asked(side: Side) -> Any:
    """Is the last pause cut short, so that the timeout is kept?"""
    job = await done(side.flow(GATED).execute_async("hurry"))
    begun = time.monotonic()
    late = await caught(APITimeoutError, lambda: job.wait(timeout=0.2, poll_interval=1.5))
    in_time = time.monotonic() - begun < 1.4
    control("POST", "gates/compat-hurry")
    return late | {"in time": in_time}


@scenario([{"caught": "APITimeoutError"}, 1])
async def one_look(side: Side) -> Any:
    """A timeout of zero polls once."""
    job = await done(side.flow(GATED).execute_async("look"))
    late = await caught(APITimeoutError, lambda: job.wait(timeout=0))
    control("POST", "gates/compat-look")
    return [late, len(asked("reads"))]


@scenario("APIConnectionError")
async def a_poll_that_is_cut_off(side: Side) -> Any:
    job = await done(side.flow(ECHO).execute_async("x"))
    order(endpoint="poll", cut_before_work=True, times=3)
    try:
        return (await done(job.wait(timeout=20, poll_interval=0.02))).status
    except NoukaiError as error:
        return type(error).__name__


@scenario("RateLimitError")
async def polls_that_are_throttled(side: Side) -> Any:
    job = await done(side.flow(ECHO).execute_async("x"))
    order(endpoint="poll", status=429, retry_after=0.05, times=2)
    try:
        return (await done(job.wait(timeout=20, poll_interval=0.02))).status
    except NoukaiError as error:
        return type(error).__name__


@scenario(
    [
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "FLOW_NOT_FOUND", "request_id": "<id 1>"},
        {
            "caught": "InsufficientCreditsError",
            "status_code": 402,
            "code": "INSUFFICIENT_CREDITS",
            "request_id": "<id 2>",
        },
        {"caught": "NoukaiError", "status_code": 400, "code": "MISSING_MESSAGE", "request_id": "<id 3>"},
        {"caught": "ValueError", "says 'Invalid version'": True},
        {"caught": "TypeError"},
    ]
)
async def jobs_that_are_refused(side: Side) -> Any:
    flow = side.flow(ECHO)
    broke = side.client(BROKE_KEY).flow(ECHO)
    return [
        await caught(FlowNotFoundError, lambda: side.flow("acme/compat/none").execute_async("x")),
        await caught(InsufficientCreditsError, lambda: broke.execute_async("x")),
        await caught(NoukaiError, flow.execute_async),
        await caught(ValueError, lambda: flow.execute_async("x", version=-1), says="Invalid version"),
        await caught(TypeError, lambda: flow.execute_async("x", tools=[])),
    ]
