"""Typed usage of pauses, queued runs and traces, checked by mypy (never run); see usage.py."""

from __future__ import annotations

from typing import Any, assert_type

from noukai_sdk import (
    AsyncFlow,
    AsyncJob,
    AsyncLiveTrace,
    AsyncRun,
    ExecuteResult,
    Flow,
    Frame,
    Job,
    JobAccepted,
    JobStatus,
    LiveTrace,
    PausedResult,
    Run,
    RunSummary,
    StepAttempts,
    StepTrace,
    StreamEvent,
    TokenBreakdown,
    Trace,
)


def tools(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": "tool", "toolCallId": call["id"], "content": "sunny"} for call in calls]


async def async_tools(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return tools(calls)


async def pauses(flow: Flow, async_flow: AsyncFlow, stored: str) -> None:
    paused = PausedResult.model_validate_json(stored)
    results = tools(paused.tool_calls)
    assert_type(flow.resume(paused, tool_results=results), ExecuteResult | PausedResult)
    assert_type(await async_flow.resume(paused, tool_results=results), ExecuteResult | PausedResult)
    flow.resume(paused, tool_results=results, tool_handler=tools, max_tool_rounds=3, timeout=5)
    await async_flow.resume(paused, tool_results=results, tool_handler=async_tools)
    assert_type(paused.session_id, str | None)
    flow.resume(paused)  # type: ignore[call-arg]
    flow.resume(paused, results)  # type: ignore[call-arg]
    flow.resume(stored, tool_results=results)  # type: ignore[arg-type]
    flow.resume(paused, tool_results="sunny")  # type: ignore[arg-type]
    flow.resume(paused, tool_results=results, tool_handler=async_tools)  # type: ignore[arg-type]
    flow.resume(flow.execute("hi"), tool_results=results)  # type: ignore[arg-type]


def jobs(flow: Flow) -> None:
    job = flow.execute_async(
        "hi",
        parameters={"tone": "warm"},
        block_overrides={"greet": {"model": "small"}},
        trace=True,
        version="draft",
        timeout=5,
        session_id="s",
        callback_url="https://app.example/done",
        callback_events=["flow.completed"],
    )
    assert_type(job, Job)
    assert_type(job.execution_id, str)
    assert_type(job.flow_id, str | None)
    assert_type(job.accepted, JobAccepted | None)
    assert_type(flow.job("E"), Job)
    assert_type(job.poll(timeout=1), JobStatus)
    status = job.wait(timeout=60, poll_interval=0.5)
    assert_type(status, JobStatus)
    assert_type(status.status, str)
    assert_type(status.is_final, bool)
    assert_type(status.error, Any)
    assert_type(status.raise_for_status().output, Any)
    job.wait(60)  # type: ignore[call-arg]
    job.wait(timeout=None)  # type: ignore[arg-type]
    job.cancel()  # type: ignore[attr-defined]
    flow.job(5)  # type: ignore[arg-type]
    flow.execute_async("hi", tools=[])  # type: ignore[call-arg]
    flow.execute_async("hi", callback_events=[5])  # type: ignore[list-item]


async def async_jobs(flow: AsyncFlow) -> None:
    job = await flow.execute_async("hi")
    assert_type(job, AsyncJob)
    assert_type(flow.job("E"), AsyncJob)
    assert_type(await job.poll(), JobStatus)
    assert_type(await job.wait(timeout=60), JobStatus)
    job.wait().status  # type: ignore[attr-defined]
    flow.execute_async("hi").execution_id  # type: ignore[attr-defined]


def runs(flow: Flow) -> None:
    run = flow.run("E")
    assert_type(run, Run)
    assert_type(run.execution_id, str)
    trace = run.trace(timeout=5)
    assert_type(trace, Trace)
    assert_type(trace.flow_run, RunSummary)
    assert_type(trace.flow_run.duration_ms, int | float | None)
    assert_type(trace.steps, list[StepTrace])
    assert_type(trace.steps[0].tokens, TokenBreakdown | None)
    assert_type(trace.steps[0].cost_usd, str | None)
    step = run.step_trace("greet", attempt="all", loop_index=0, timeout=5)
    assert_type(step, StepTrace | StepAttempts)
    if isinstance(step, StepAttempts):
        assert_type(step.attempts, list[StepTrace])
    run.step_trace("greet", attempt=2)
    run.step_trace("greet", attempt="first")  # type: ignore[arg-type]
    run.step_trace("greet", 2)  # type: ignore[call-arg]
    trace.summary  # type: ignore[attr-defined]


async def async_runs(flow: AsyncFlow) -> None:
    run = flow.run("E")
    assert_type(run, AsyncRun)
    assert_type(await run.trace(), Trace)
    assert_type(await run.step_trace("greet"), StepTrace | StepAttempts)
    run.trace().steps  # type: ignore[attr-defined]


def live_traces(flow: Flow) -> None:
    with flow.run("E").live_trace(timeout=60, max_frame_bytes=1 << 20) as live:
        assert_type(live, LiveTrace[StreamEvent])
        for event in live:
            assert_type(event, StreamEvent)
        for batch in live.batches():
            assert_type(batch, list[Frame])
        live.checkpoint  # type: ignore[attr-defined]
    flow.run("E").live_trace(timeout="60")  # type: ignore[arg-type]


async def async_live_traces(flow: AsyncFlow) -> None:
    async with flow.run("E").live_trace() as live:
        assert_type(live, AsyncLiveTrace[StreamEvent])
        async for event in live:
            assert_type(event, StreamEvent)
        async for batch in live.batches():
            assert_type(batch, list[Frame])
    for _ in flow.run("E").live_trace():  # type: ignore[attr-defined]
        pass
