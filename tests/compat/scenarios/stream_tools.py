"""Tool calls in `steps` and `events` (WIRE.md 4.4)."""

from __future__ import annotations

from typing import Any

from noukai_sdk import ToolCallLimitError, ToolCallsRequired

from .stage import Side, asked, brief, caught, control, event, items, scenario
from .toolbox import TOOLS, Watched, answers
from .tools import FLOW


def started() -> dict[str, Any]:
    """How often each step was begun, and taken up with results."""
    return control("GET", "counts")["flows"][FLOW]["steps"]


@scenario(
    [
        [
            "run_started",
            "step_started plan 0",
            "step_completed plan 0",
            "step_paused 0",
            "step_started weather 1",
            "step_completed weather 1",
            "flow_completed",
        ],
        [["weather Rome", "clock"], ["weather elsewhere"]],
        "Rome: weather Rome, clock, weather elsewhere",
        {
            "plan": {"started": 1, "resumed": 0, "completed": 1, "failed": 0},
            "weather": {"started": 1, "resumed": 2, "completed": 1, "failed": 0},
        },
    ]
)
async def a_handler_in_events(side: Side) -> Any:
    watched = Watched()
    events = side.flow(FLOW).events("Rome", tools=TOOLS, tool_handler=side.handler(watched))
    seen = await items(events)
    return [[brief(one) for one in seen], watched.rounds, seen[-1].result, started()]


@scenario(
    [
        [
            "run_started",
            "step_started plan 0",
            "step_completed plan 0",
            "step_started weather 1",
            "step_completed weather 1",
            "flow_completed",
        ],
        [["weather Rome", "clock"], ["weather elsewhere"]],
        3,
    ]
)
async def a_handler_in_one_request_for_all_steps(side: Side) -> Any:
    watched = Watched()
    handler = side.handler(watched)
    events = side.flow(FLOW).events("Rome", tools=TOOLS, tool_handler=handler, run_remaining=True)
    return [[brief(one) for one in await items(events)], watched.rounds, len(asked())]


@scenario(
    [["planned", "Rome: weather Rome, clock, weather elsewhere"], [["weather Rome", "clock"], ["weather elsewhere"]]]
)
async def a_handler_in_steps(side: Side) -> Any:
    watched = Watched()
    steps = side.flow(FLOW).steps("Rome", tools=TOOLS, tool_handler=side.handler(watched))
    return [[one.output for one in await items(steps)], watched.rounds]


@scenario(
    [
        {
            "caught": "ToolCallLimitError",
            "says 'max_tool_rounds=1'": True,
            "code": "TOOL_CALL_LIMIT_CLIENT",
            "execution_id": "<id 1>",
        },
        [["weather Rome", "clock"]],
    ]
)
async def more_rounds_than_allowed(side: Side) -> Any:
    watched = Watched()
    handler = side.handler(watched)
    steps = side.flow(FLOW).steps("Rome", tools=TOOLS, tool_handler=handler, max_tool_rounds=1)
    return [await caught(ToolCallLimitError, lambda: items(steps), says="max_tool_rounds=1"), watched.rounds]


@scenario(
    [
        "step_paused_for_tool_calls",
        {
            "run_id": "<id 1>",
            "execution_id": "<id 1>",
            "step_id": "answer",
            "step_index": 0,
            "iterations_used": 1,
            "tool_call_messages": [
                {"role": "user", "content": "x"},
                {
                    "role": "assistant",
                    "content": None,
                    "toolCalls": [
                        {"id": "<id 2>", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
                    ],
                },
            ],
            "tool_calls": [{"id": "<id 2>", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
            "accumulated_outputs": {},
        },
    ]
)
async def what_a_tool_call_says(side: Side) -> Any:
    events = side.flow("acme/demo/tools-enabled").events("x", tools=TOOLS)
    return event((await items(events, at_most=3))[-1])


@scenario(
    [
        [
            "run_started",
            "step_started plan 0",
            "step_completed plan 0",
            "step_paused 0",
            "step_started weather 1",
            "step_paused_for_tool_calls weather 1",
        ],
        ["step_completed plan 0", "step_paused_for_tool_calls weather 1"],
        4,
    ],
    sides=("sync",),
)
async def unanswered_in_a_sync_stream(side: Side) -> Any:
    """It is the last event, of `steps` too, and the stream has ended."""
    flow = side.flow(FLOW)
    return [
        [brief(one) for one in flow.events("Rome", tools=TOOLS)],
        [brief(one) for one in flow.steps("Rome", tools=TOOLS)],
        len(asked()),
    ]


@scenario(
    [
        [
            "run_started",
            "step_started answer 0",
            "step_paused_for_tool_calls answer 0",
            "step_started answer 0",
            "step_paused_for_tool_calls answer 0",
            "step_started answer 0",
        ],
        3,
    ],
    sides=("async",),
)
async def unanswered_in_an_async_stream(side: Side) -> Any:
    """Bounded here: after six events nobody asks for more."""
    seen = await items(side.flow("acme/demo/tools-enabled").events("x", tools=TOOLS), at_most=6)
    return [[brief(one) for one in seen], len(asked())]


@scenario(
    [
        [
            "run_started",
            "step_started plan 0",
            "step_completed plan 0",
            "step_paused 0",
            "step_started weather 1",
            "step_paused_for_tool_calls weather 1",
            "step_paused_for_tool_calls weather 1",
            "step_completed weather 1",
            "flow_completed",
        ],
        [
            "step_completed plan 0",
            "step_paused_for_tool_calls weather 1",
            "step_paused_for_tool_calls weather 1",
            "step_completed weather 1",
        ],
        {
            "plan": {"started": 2, "resumed": 0, "completed": 2, "failed": 0},
            "weather": {"started": 2, "resumed": 4, "completed": 2, "failed": 0},
        },
    ],
    sides=("async",),
)
async def answered_by_hand(side: Side) -> Any:
    async def watched(stream: Any) -> list[str]:
        seen = []
        async for one in stream:
            seen.append(brief(one))
            if isinstance(one, ToolCallsRequired):
                await one.resume(tool_results=answers(one.tool_calls))
        return seen

    flow = side.flow(FLOW)
    return [
        await watched(flow.events("Rome", tools=TOOLS)),
        await watched(flow.steps("Rome", tools=TOOLS)),
        started(),
    ]


@scenario([{"caught": "LookupError"}, []])
async def a_handler_that_raises(side: Side) -> Any:
    def broken(calls: Any) -> Any:
        raise LookupError("no such place")

    steps = side.flow(FLOW).steps("Rome", tools=TOOLS, tool_handler=side.handler(broken))
    return [await caught(LookupError, lambda: items(steps)), await items(steps)]


@scenario({"caught": "TypeError", "says 'sync'": True}, sides=("sync",))
async def a_sync_stream_refuses_an_async_handler(side: Side) -> Any:
    async def handle(calls: Any) -> Any:
        return answers(calls)

    flow = side.flow(FLOW)
    return await caught(TypeError, lambda: items(flow.events("x", tools=TOOLS, tool_handler=handle)), says="sync")
