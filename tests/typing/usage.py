"""Typed usage of the door, checked by mypy (never run): what callers may rely on, and what a checker must refuse.

A `type: ignore[code]` marks a mistake that has to be one: mypy complains about ignores that are not needed.
"""

from __future__ import annotations

from typing import Any, Literal, assert_never, assert_type

import httpx
from opentelemetry import trace

from noukai_sdk import (
    AsyncEventStream,
    AsyncFlow,
    AsyncNoukai,
    AsyncSession,
    CallInterruptedError,
    ChatMessage,
    Checkpoint,
    EventStream,
    ExecuteResult,
    Flow,
    FlowCompleted,
    Frame,
    Interruption,
    Noukai,
    NoukaiError,
    PausedResult,
    RateLimitError,
    RecordedRun,
    RecordedStep,
    RunStarted,
    Session,
    SessionRecord,
    StepCompleted,
    StepFailed,
    StepInput,
    StepOutput,
    StepPaused,
    StepStarted,
    StreamEvent,
    StreamInterruptedError,
    TokenBreakdown,
    ToolCallsRequired,
)
from noukai_sdk.testing import Exchange, FlowServer, ScriptedTransport, Stall, failure, flow_server, sse


def clients() -> None:
    assert_type(Noukai(), Noukai)
    Noukai("nk_x", env="dev", org="acme", project="demo", session_id="s", timeout=5, max_retries=0, log_payloads=True)
    AsyncNoukai(base_url="https://example.org/api/v1", log_handler=lambda event: print(event["phase"]))
    Noukai(max_connections=None, pool_timeout=2.5, otel=True, otel_steps=True, otel_step_payloads=False)
    AsyncNoukai(max_connections=50, pool_timeout=None, tracer=trace.get_tracer("mine"))
    assert_type(Noukai().base_url, str)
    Noukai(http_client=httpx.Client())
    AsyncNoukai(http_client=httpx.AsyncClient())
    Noukai(env="staging")  # type: ignore[arg-type]
    Noukai(http_client=httpx.AsyncClient())  # type: ignore[arg-type]
    AsyncNoukai(http_client=httpx.Client())  # type: ignore[arg-type]
    Noukai("nk_x", "dev")  # type: ignore[call-arg]
    Noukai(timeout="5")  # type: ignore[arg-type]
    Noukai(max_retries=1.5)  # type: ignore[arg-type]
    Noukai(max_connections="many")  # type: ignore[arg-type]
    Noukai(log_handler=lambda: None)  # type: ignore[arg-type,misc]
    AsyncNoukai(tracer="mine")  # type: ignore[arg-type]


def flows(client: Noukai, async_client: AsyncNoukai) -> None:
    assert_type(client.flow("acme/demo/greet"), Flow)
    assert_type(client.flow("greet", org="acme", project="demo"), Flow)
    assert_type(async_client.flow(org="acme", project="demo", slug="greet"), AsyncFlow)
    assert_type(client.flow("greet").slug, str)
    assert_type(client.default_org, str | None)


def results(flow: Flow) -> None:
    result = flow.execute(
        "hi",
        parameters={"tone": "warm"},
        block_overrides={"greet": {"model": "small"}},
        attachments=[{"kind": "url", "url": "https://example.org/a.png", "mime_type": "image/png"}],
        trace=True,
        version=3,
        timeout=1.5,
        session_id="s",
    )
    assert_type(result, ExecuteResult | PausedResult)
    if isinstance(result, PausedResult):
        assert_type(result.tool_calls, list[dict[str, Any]])
        assert_type(result.status, Literal["tool_calls_required"])
        assert_type(result.resume_sync(tool_results=[{"role": "tool"}]), ExecuteResult | PausedResult)
    else:
        assert_type(result, ExecuteResult)
        assert_type(result.status, str)
        assert_type(result.output, Any)
        assert_type(result.execution_id, str | None)
        assert_type(result.raise_for_status(), ExecuteResult)
    assert_type(result.session_id, str | None)
    assert_type(result.requires_tool_calls, bool)
    result.output  # type: ignore[union-attr]
    flow.execute(b"hi")  # type: ignore[arg-type]
    flow.execute("hi", {"tone": "warm"})  # type: ignore[call-arg, arg-type]
    flow.execute(messages=[ChatMessage(role="user", content="hi"), {"role": "user", "content": "hi"}])


async def async_results(flow: AsyncFlow) -> None:
    result = await flow.execute("hi")
    assert_type(result, ExecuteResult | PausedResult)
    if isinstance(result, PausedResult):
        assert_type(await result.resume(tool_results=[]), ExecuteResult | PausedResult)
    flow.execute("hi").output  # type: ignore[attr-defined]


def plain_tools(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": "tool", "toolCallId": call["id"], "content": "sunny"} for call in calls]


async def async_tools(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return plain_tools(calls)


async def tools(flow: Flow, async_flow: AsyncFlow) -> None:
    offered = [{"type": "function", "function": {"name": "weather"}}]
    flow.execute("hi", tools=offered, tool_choice="auto", tool_handler=plain_tools, max_tool_rounds=3)
    await async_flow.execute("hi", tools=offered, tool_handler=plain_tools)
    await async_flow.execute("hi", tools=offered, tool_handler=async_tools)
    flow.events("hi", tools=offered, tool_handler=plain_tools)
    async_flow.events("hi", tools=offered, tool_handler=async_tools)
    flow.execute("hi", tool_handler=async_tools)  # type: ignore[arg-type]
    flow.steps("hi", tool_handler=async_tools)  # type: ignore[arg-type]


def narrowed(event: StreamEvent) -> object:
    """Every kind of event, and no other."""
    if isinstance(event, RunStarted):
        return assert_type(event.execution_id, str | None)
    if isinstance(event, StepStarted):
        return assert_type(event.step_index, int)
    if isinstance(event, StepInput):
        return assert_type(event.input_data, Any)
    if isinstance(event, StepOutput):
        return assert_type(event.output_data, Any)
    if isinstance(event, StepCompleted):
        assert_type(event.tokens, TokenBreakdown | None)
        assert_type(event.cost_usd, str | None)
        return assert_type(event.step_id, str)
    if isinstance(event, StepFailed):
        return assert_type(event.error, Any)
    if isinstance(event, StepPaused):
        return assert_type(event.step_id, str | None)
    if isinstance(event, ToolCallsRequired):
        return assert_type(event.tool_call_messages, list[dict[str, Any]])
    if isinstance(event, FlowCompleted):
        return assert_type(event.result, Any)
    assert_never(event)


def named(event: StreamEvent) -> None:
    """The name tells the kind, too."""
    if event.event_type == "step_completed":
        assert_type(event, StepCompleted)
    assert event.event_type != "flow_complete"  # type: ignore[comparison-overlap]


def streams(flow: Flow) -> None:
    assert_type(flow.steps("hi"), EventStream[StepCompleted])
    for step in flow.steps("hi"):
        assert_type(step, StepCompleted)
    with flow.events("hi", run_remaining=True, timeout=60, input_overrides={"a": 1}) as stream:
        assert_type(stream, EventStream[StreamEvent])
        for event in stream:
            narrowed(event)
        assert_type(stream.checkpoint, Checkpoint)
        assert_type(stream.execution_id, str | None)
        for batch in stream.batches():
            assert_type(batch, list[Frame])
            assert_type(batch[0].event(), StreamEvent | None)
    flow.events("hi", checkpoint=Checkpoint.from_dict({"execution_id": "E", "step_index": 1, "outputs": {}}))
    flow.steps("hi", run_remaining=True)  # type: ignore[call-arg]


async def async_streams(flow: AsyncFlow) -> None:
    assert_type(flow.steps("hi"), AsyncEventStream[StepCompleted])
    async for step in flow.steps("hi"):
        assert_type(step, StepCompleted)
    async with flow.events("hi") as stream:
        assert_type(stream, AsyncEventStream[StreamEvent])
        async for event in stream:
            if isinstance(event, ToolCallsRequired):
                await event.resume(plain_tools(event.tool_calls))
        async for batch in stream.batches():
            assert_type(batch, list[Frame])
    for _ in flow.events("hi"):  # type: ignore[attr-defined]
        pass


def errors(flow: Flow) -> Checkpoint | None:
    try:
        list(flow.events("hi"))
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except StreamInterruptedError as error:
        assert_type(error.sent, bool)
        return error.checkpoint
    except NoukaiError as error:
        assert_type(error.status_code, int | None)
        assert_type(error.code, str | None)
        assert_type(error.response_body, Any)
    return None


def tests() -> None:
    stall = Stall()
    script = ScriptedTransport(
        [
            Exchange.stream(sse("run_started", executionId="E"), stall, failure("cut"), b": ping\n\n"),
            Exchange.json({"status": "completed"}).cut_at(3, by="reset").in_pieces(2),
            Exchange.failing("refused"),
            Exchange.refusal(404, "FLOW_NOT_FOUND", "no such flow"),
            Exchange.completed({"text": "hi"}),
        ]
    )
    assert_type(script.client(timeout=1), Noukai)
    assert_type(script.async_client(), AsyncNoukai)
    script.assert_done()
    failure("gone")  # type: ignore[arg-type]
    with flow_server("flows.toml") as server:
        assert_type(server, FlowServer)
        server.order(status=503, times=2)
        assert_type(server.counts(flow="acme/demo/greet"), dict[str, Any])


def interruptions(client: Noukai) -> None:
    interruption = Interruption()
    with interruption.covers() as same:
        assert_type(same, Interruption)
    assert_type(interruption.interrupted, bool)
    interruption.interrupt()
    with interruption:  # type: ignore[attr-defined]
        pass
    interruption.interrupted = True  # type: ignore[misc]
    assert_type(CallInterruptedError("x", sent=False).sent, bool)


async def sessions(client: Noukai, async_client: AsyncNoukai) -> None:
    assert_type(client.session("11111111-1111-4111-8111-111111111111"), Session)
    assert_type(async_client.session("11111111-1111-4111-8111-111111111111"), AsyncSession)
    record = client.session("11111111-1111-4111-8111-111111111111").read(timeout=5)
    assert_type(record, SessionRecord)
    assert_type(await async_client.session("11111111-1111-4111-8111-111111111111").read(), SessionRecord)
    for run in record.executions:
        assert_type(run, RecordedRun)
        assert_type(run.execution_id, str)
        assert_type(run.status, str | None)
        assert_type(run.trigger, str | None)
        assert_type(run.completed_at, str | None)
        assert_type(run.finished, bool)
        assert_type(run.result(), ExecuteResult)
        assert_type(run.steps, list[RecordedStep])
    client.session()  # type: ignore[call-arg]
    client.session("s").read(5)  # type: ignore[call-arg]
