"""The relay's client side, against a relay that this package mounts before the flow server (WIRE.md 6.10)."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import noukai_sdk
from noukai_sdk import FlowExecutionError, NoukaiError, ToolCallLimitError

from .stage import Side, asked, caught, done, order, result, scenario
from .toolbox import TOOLS, Watched, answers


def flow(side: Side, **options: Any) -> Any:
    kind = noukai_sdk.RelayFlow if side.name == "sync" else noukai_sdk.AsyncRelayFlow
    return kind(os.environ["COMPAT_RELAY_URL"], **options)


@scenario(
    [
        {
            "status": "completed",
            "flow_id": "<id 1>",
            "block_count": 2,
            "execution_id": "<id 2>",
            "session_id": None,
            "requires_tool_calls": False,
            "result": "Ada: no tools",
            "output": "Ada: no tools",
        },
        [["execute", 200, None]],
    ]
)
async def a_message(side: Side) -> Any:
    return [result(await done(flow(side).execute("Ada"))), asked()]


@scenario("Ada: no tools")
async def messages_and_parameters(side: Side) -> Any:
    messages = [{"role": "user", "content": "Hello"}, {"role": "user", "content": "Ada"}]
    return (await done(flow(side).execute(messages=messages, parameters={"p": 1}))).output


@scenario(
    [
        "Rome: weather Rome, clock, weather elsewhere",
        [["weather Rome", "clock"], ["weather elsewhere"]],
        [["execute", 200, None], ["execute", 200, None], ["execute", 200, None]],
    ]
)
async def a_tool_handler(side: Side) -> Any:
    watched = Watched()
    outcome = await done(flow(side).execute("Rome", tools=TOOLS, tool_handler=side.handler(watched)))
    return [outcome.output, watched.rounds, asked()]


@scenario({"caught": "ToolCallLimitError", "code": "TOOL_CALL_LIMIT_CLIENT", "execution_id": "<id 1>"})
async def more_rounds_than_allowed(side: Side) -> Any:
    handler, relay = side.handler(Watched()), flow(side)
    return await caught(
        ToolCallLimitError, lambda: relay.execute("Rome", tools=TOOLS, tool_handler=handler, max_tool_rounds=1)
    )


@scenario("Rome: weather Rome, clock, weather elsewhere")
async def resumed_by_hand(side: Side) -> Any:
    first = await done(flow(side).execute("Rome", tools=TOOLS))
    second = await side.resume(first, answers(first.tool_calls))
    return (await side.resume(second, answers(second.tool_calls))).output


@scenario(
    [
        [
            {"caught": "NoukaiError", "status_code": 403},
            {"caught": "FlowExecutionError", "status_code": 413},
            {"caught": "FlowExecutionError", "status_code": 413},
            {"caught": "FlowExecutionError", "status_code": 409, "code": "STALE_TREE"},
        ],
        [["execute", 409, "STALE_TREE"]],
    ]
)
async def refusals(side: Side) -> Any:
    """Those of the relay's application, of the relay, and of the service behind it."""
    relay, seen = flow(side), []
    seen.append(await caught(NoukaiError, lambda: relay.execute("refuse me")))
    seen.append(await caught(FlowExecutionError, lambda: relay.execute("x" * 300_000)))
    seen.append(
        await caught(FlowExecutionError, lambda: relay.execute(messages=[{"role": "user", "content": "x"}] * 41))
    )
    order(endpoint="execute", status=409, code="STALE_TREE")
    seen.append(await caught(FlowExecutionError, lambda: relay.execute("x")))
    return [seen, asked()]


@scenario(["Rome: no tools"] * 3, sides=("async",))
async def in_several_event_loops(side: Side) -> Any:
    """One after another, and beside the one that runs here."""
    relay = flow(side)

    def call() -> Any:
        return asyncio.run(relay.execute("Rome")).output

    return [await asyncio.to_thread(call), await asyncio.to_thread(call), (await relay.execute("Rome")).output]
