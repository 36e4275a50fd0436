"""What a run did, afterwards and while it happens (WIRE.md 5.3, 5.4)."""

from __future__ import annotations

from typing import Any

from noukai_sdk import FlowNotFoundError

from .stage import Side, asked, brief, caught, control, done, items, scenario

TWO_STEPS = "acme/demo/two-step"
LAPS = "acme/compat/laps"

RUN = ("id", "flow_id", "status", "trigger_type", "started_at", "completed_at", "duration_ms", "step_count")
STEP = (
    "step_id",
    "attempt",
    "loop_index",
    "status",
    "started_at",
    "completed_at",
    "duration_ms",
    "model_used",
    "cost_usd",
    "input_context",
    "output_context",
    "error_context",
    "input_size_bytes",
    "output_size_bytes",
    "truncated",
)


def run(summary: Any) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in RUN}


def step(trace: Any) -> dict[str, Any]:
    tokens = trace.tokens and [trace.tokens.prompt, trace.tokens.completion, trace.tokens.total]
    return {name: getattr(trace, name) for name in STEP} | {"tokens": tokens}


def short(trace: Any) -> list[Any]:
    return [trace.step_id, trace.attempt, trace.loop_index, trace.status]


async def run_of(flow: Any, kind: str, message: str = "x", **options: Any) -> str:
    """The id of a run of each kind that has ended."""
    if kind == "execute":
        return (await done(flow.execute(message, **options))).execution_id
    if kind == "step":
        return (await items(flow.events(message, **options)))[0].execution_id
    job = await done(flow.execute_async(message, **options))
    await done(job.wait(poll_interval=0.02))
    return job.execution_id


@scenario(
    [
        {
            "id": "<id 1>",
            "flow_id": "<id 2>",
            "status": "completed",
            "trigger_type": "execute",
            "started_at": "<time>",
            "completed_at": "<time>",
            "duration_ms": "<ms>",
            "step_count": 1,
        },
        [
            {
                "step_id": "say",
                "attempt": 1,
                "loop_index": None,
                "status": "completed",
                "started_at": "<time>",
                "completed_at": "<time>",
                "duration_ms": "<ms>",
                "model_used": "local/echo",
                "cost_usd": "0.000001",
                "input_context": {"prompt": "x"},
                "output_context": {"output": {"message": "x", "parameters": {"p": 1}, "input": "x"}},
                "error_context": None,
                "input_size_bytes": 3,
                "output_size_bytes": 48,
                "truncated": False,
                "tokens": [3, 4, 7],
            }
        ],
        True,
    ]
)
async def a_whole_trace(side: Side) -> Any:
    flow = side.flow("acme/compat/echo")
    handle = flow.run(await run_of(flow, "execute", trace=True, parameters={"p": 1}))
    trace = await done(handle.trace())
    return [run(trace.flow_run), [step(one) for one in trace.steps], handle.execution_id == trace.flow_run.id]


@scenario([None, None, 3, 43])
async def a_trace_without_contents(side: Side) -> Any:
    """Unless asked for, contents are not kept; their sizes are."""
    flow = side.flow("acme/compat/echo")
    (one,) = (await done(flow.run(await run_of(flow, "execute")).trace(timeout=5))).steps
    return [one.input_context, one.output_context, one.input_size_bytes, one.output_size_bytes]


@scenario(
    [
        ["execute", "completed", ["step-a", 1, None, "completed"], ["step-b", 1, None, "completed"]],
        ["step", "completed", ["step-a", 1, None, "completed"], ["step-b", 1, None, "completed"]],
        ["job", "completed", ["step-a", 1, None, "completed"], ["step-b", 1, None, "completed"]],
    ]
)
async def traces_of_all_kinds_of_runs(side: Side) -> Any:
    flow = side.flow(TWO_STEPS)
    traces = [await done(flow.run(await run_of(flow, kind)).trace()) for kind in ("execute", "step", "job")]
    return [[trace.flow_run.trigger_type, trace.flow_run.status, *map(short, trace.steps)] for trace in traces]


@scenario(
    [
        "failed",
        ["fine", 1, None, "completed", None],
        ["broken", 1, None, "failed", {"code": "MODEL_OVERLOADED", "message": "Busy."}],
    ]
)
async def the_trace_of_a_run_that_failed(side: Side) -> Any:
    flow = side.flow("acme/compat/broken")
    trace = await done(flow.run(await run_of(flow, "execute", trace=True)).trace())
    return [trace.flow_run.status, *([*short(one), one.error_context] for one in trace.steps)]


@scenario(
    [
        ["step-b", 1, None, "completed"],
        ["step-b", 1, None, "completed"],
        ["step-b", 1, None, "completed"],
        ["step-b", ["step-b", 1, None, "completed"]],
    ]
)
async def one_step(side: Side) -> Any:
    flow = side.flow(TWO_STEPS)
    handle = flow.run(await run_of(flow, "step"))
    every = await done(handle.step_trace("step-b", attempt="all"))
    return [
        short(await done(handle.step_trace("step-b"))),
        short(await done(handle.step_trace("step-b", attempt="latest", timeout=5))),
        short(await done(handle.step_trace("step-b", attempt=1))),
        [every.step_id, *map(short, every.attempts)],
    ]


@scenario(
    [[["laps", 1, 0, "completed", {"output": "lap 0"}], ["laps", 1, 1, "completed", {"output": "lap 1"}]], [0, 1]]
)
async def one_lap_of_a_loop(side: Side) -> Any:
    flow = side.flow(LAPS)
    handle = flow.run(await run_of(flow, "execute", trace=True))
    laps = [await done(handle.step_trace("laps", loop_index=index)) for index in (0, 1)]
    every = await done(handle.step_trace("laps", attempt="all"))
    return [[[*short(lap), lap.output_context] for lap in laps], [lap.loop_index for lap in every.attempts]]


@scenario(["paused", ["answer", 1, None, "running"]])
async def the_trace_of_a_run_that_waits(side: Side) -> Any:
    flow = side.flow("acme/demo/tools-enabled")
    tools = [{"type": "function", "function": {"name": "clock", "description": "The clock.", "parameters": {}}}]
    first = await items(flow.events("x", tools=tools), at_most=3)
    trace = await done(flow.run(first[0].execution_id).trace())
    return [trace.flow_run.status, *map(short, trace.steps)]


@scenario(
    [
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "RUN_NOT_FOUND", "request_id": "<id 1>"},
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "RUN_NOT_FOUND", "request_id": "<id 2>"},
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "STEP_NOT_FOUND", "request_id": "<id 3>"},
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "STEP_NOT_FOUND", "request_id": "<id 4>"},
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "STEP_NOT_FOUND", "request_id": "<id 5>"},
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "RUN_NOT_FOUND", "request_id": "<id 6>"},
    ]
)
async def what_is_not_there(side: Side) -> Any:
    flow = side.flow(TWO_STEPS)
    run_id = await run_of(flow, "execute")
    known, unknown = flow.run(run_id), flow.run("00000000-0000-4000-8000-000000000000")
    elsewhere = side.flow(LAPS).run(run_id)
    return [
        await caught(FlowNotFoundError, unknown.trace),
        await caught(FlowNotFoundError, elsewhere.trace),
        await caught(FlowNotFoundError, lambda: known.step_trace("step-z")),
        await caught(FlowNotFoundError, lambda: known.step_trace("step-a", attempt=7)),
        await caught(FlowNotFoundError, lambda: known.step_trace("step-a", loop_index=7)),
        await caught(FlowNotFoundError, lambda: items(unknown.live_trace())),
    ]


@scenario(
    [
        [
            "run_started",
            "step_started step-a 0",
            "step_completed step-a 0",
            "step_started step-b 1",
            "step_completed step-b 1",
            "flow_completed",
        ],
        [
            "run_started",
            "step_started step-a 0",
            "step_completed step-a 0",
            "step_started step-b 1",
            "step_completed step-b 1",
            "flow_completed",
        ],
        [
            "run_started",
            "step_started step-a 0",
            "step_completed step-a 0",
            "step_started step-b 1",
            "step_completed step-b 1",
            "flow_completed",
        ],
        ["run_started", "step_started speak 0", "step_input speak", "step_completed speak 0", "flow_completed"],
    ]
)
async def live_traces_of_runs_that_have_ended(side: Side) -> Any:
    flow = side.flow(TWO_STEPS)
    spoken = side.flow("acme/compat/languages")
    runs = [flow.run(await run_of(flow, kind)) for kind in ("execute", "step", "job")]
    runs.append(spoken.run(await run_of(spoken, "step")))
    return [[brief(seen) for seen in await items(run.live_trace())] for run in runs]


@scenario(["run_started", "step_started fine 0", "step_completed fine 0", "step_started broken 1", "step_error broken"])
async def the_live_trace_of_a_failure(side: Side) -> Any:
    flow = side.flow("acme/compat/broken")
    trace = flow.run(await run_of(flow, "execute")).live_trace()
    return [brief(seen) for seen in await items(trace)]


@scenario(
    [
        "run_started",
        "step_started first 0",
        "step_completed first 0",
        "step_started second 1",
        "step_completed second 1",
        "flow_completed",
    ]
)
async def a_run_watched_as_it_happens(side: Side) -> Any:
    """Its second step waits at a gate, which opens once the watcher has seen that step begin."""
    flow = side.flow("acme/compat/gated")
    job = await done(flow.execute_async("watched"))
    seen: list[str] = []

    def see(one: Any) -> None:
        seen.append(brief(one))
        if seen[-1] == "step_started second 1":
            control("POST", "gates/compat-watched")

    if side.name == "sync":
        for one in flow.run(job.execution_id).live_trace():
            see(one)
    else:
        async for one in flow.run(job.execution_id).live_trace():
            see(one)
    return seen


@scenario([])
async def a_live_trace_asks_when_iterated(side: Side) -> Any:
    side.flow(TWO_STEPS).run("00000000-0000-4000-8000-000000000000").live_trace()
    return asked("reads")
