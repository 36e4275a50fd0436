"""Tool calls in `execute`: answered by a handler, or by hand (WIRE.md 3.2, 3.4, 6.5)."""

from __future__ import annotations

from typing import Any

from noukai_sdk import FlowExecutionError, NoukaiError, PausedResult, ToolCallLimitError

from .stage import Side, asked, caught, control, done, result, scenario
from .toolbox import TOOLS, Watched, answers, tool

FLOW = "acme/compat/tools"


@scenario(
    [
        {
            "status": "completed",
            "flow_id": "<id 1>",
            "block_count": 2,
            "execution_id": "<id 2>",
            "session_id": None,
            "requires_tool_calls": False,
            "result": "Rome: weather Rome, clock, weather elsewhere",
            "output": "Rome: weather Rome, clock, weather elsewhere",
        },
        [["weather Rome", "clock"], ["weather elsewhere"]],
        [["execute", 200, None], ["execute", 200, None], ["execute", 200, None]],
    ]
)
async def a_handler_answers_round_after_round(side: Side) -> Any:
    watched = Watched()
    flow = side.flow(FLOW)
    outcome = await done(flow.execute("Rome", tools=TOOLS, tool_handler=side.handler(watched)))
    return [result(outcome), watched.rounds, asked()]


@scenario("Rome: weather Rome, clock, weather elsewhere", sides=("async",))
async def an_async_client_takes_a_plain_handler(side: Side) -> Any:
    return (await side.flow(FLOW).execute("Rome", tools=TOOLS, tool_handler=answers)).output


@scenario({"caught": "TypeError", "says 'sync'": True, "asked": []}, sides=("sync",))
async def a_sync_client_refuses_an_async_handler(side: Side) -> Any:
    async def handle(calls: Any) -> Any:
        return answers(calls)

    flow = side.flow(FLOW)
    refusal = await caught(TypeError, lambda: flow.execute("x", tools=TOOLS, tool_handler=handle), says="sync")
    return refusal | {"asked": asked()}


@scenario(
    [
        {
            "caught": "ToolCallLimitError",
            "says 'max_tool_rounds=1'": True,
            "code": "TOOL_CALL_LIMIT_CLIENT",
            "execution_id": "<id 1>",
        },
        [["weather Rome", "clock"]],
        2,
    ]
)
async def more_rounds_than_allowed(side: Side) -> Any:
    watched, flow = Watched(), side.flow(FLOW)
    handler = side.handler(watched)
    limit = await caught(
        ToolCallLimitError,
        lambda: flow.execute("Rome", tools=TOOLS, tool_handler=handler, max_tool_rounds=1),
        says="max_tool_rounds=1",
    )
    return [limit, watched.rounds, len(asked())]


@scenario([{"caught": "ToolCallLimitError", "code": "TOOL_CALL_LIMIT_CLIENT", "execution_id": "<id 1>"}, [], 1])
async def no_round_allowed(side: Side) -> Any:
    watched, flow = Watched(), side.flow(FLOW)
    handler = side.handler(watched)
    limit = await caught(
        ToolCallLimitError, lambda: flow.execute("Rome", tools=TOOLS, tool_handler=handler, max_tool_rounds=0)
    )
    return [limit, watched.rounds, len(asked())]


@scenario({"caught": "LookupError", "says 'no such place'": True})
async def a_handler_that_raises(side: Side) -> Any:
    def broken(calls: Any) -> Any:
        raise LookupError("no such place")

    flow, handler = side.flow(FLOW), side.handler(broken)
    return await caught(
        LookupError, lambda: flow.execute("Rome", tools=TOOLS, tool_handler=handler), says="no such place"
    )


@scenario({"caught": "TypeError"})
async def a_handler_that_returns_nothing(side: Side) -> Any:
    flow, handler = side.flow(FLOW), side.handler(lambda calls: None)
    return await caught(TypeError, lambda: flow.execute("Rome", tools=TOOLS, tool_handler=handler))


@scenario({"escaped": "pydantic_core.ValidationError"})
async def a_handler_that_returns_text(side: Side) -> Any:
    flow, handler = side.flow(FLOW), side.handler(lambda calls: "sunny")
    return await caught(TypeError, lambda: flow.execute("Rome", tools=TOOLS, tool_handler=handler))


@scenario(
    {
        "status": "tool_calls_required",
        "flow_id": "<id 1>",
        "block_count": 2,
        "execution_id": "<id 2>",
        "session_id": None,
        "requires_tool_calls": True,
        "paused_at_step": "weather",
        "iterations_used": 1,
        "tool_calls": [
            {"id": "<id 3>", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}},
            {"id": "<id 4>", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
        ],
        "tool_call_messages": [
            {"role": "user", "content": "planned"},
            {
                "role": "assistant",
                "content": None,
                "toolCalls": [
                    {
                        "id": "<id 3>",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"place": "Rome"}'},
                    },
                    {"id": "<id 4>", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
                ],
            },
        ],
        "accumulated_outputs": {"plan": "planned"},
    }
)
async def a_pause(side: Side) -> Any:
    return result(await done(side.flow(FLOW).execute("Rome", tools=TOOLS)))


@scenario(
    [
        2,
        "Rome: weather Rome, clock, weather elsewhere",
        [
            "/seq/acme/compat/tools/v1/execute",
            {
                "parameters": {"p": 1},
                "tools": True,
                "toolChoice": "auto",
                "executionId": "<id 1>",
                "pausedAtStep": "weather",
                "iterationsUsed": 1,
                "toolCallMessages": ["planned", "assistant", "weather Rome", "clock"],
                "accumulatedOutputs": {"plan": "planned"},
                "trace": True,
            },
        ],
        [
            "/seq/acme/compat/tools/v1/execute",
            {
                "parameters": {"p": 1},
                "tools": True,
                "toolChoice": "auto",
                "executionId": "<id 1>",
                "pausedAtStep": "weather",
                "iterationsUsed": 2,
                "toolCallMessages": ["planned", "assistant", "weather Rome", "clock", "assistant", "weather elsewhere"],
                "accumulatedOutputs": {"plan": "planned"},
                "trace": True,
            },
        ],
    ]
)
async def resumed_by_hand_to_the_end(side: Side) -> Any:
    """Two pauses; the requests in between say again what the fresh one said, but not the input."""
    log: list[dict[str, Any]] = []
    flow = side.flow(FLOW, log_handler=log.append, log_payloads=True)
    first = await done(
        flow.execute("Rome", tools=TOOLS, tool_choice="auto", parameters={"p": 1}, trace=True, version=1)
    )
    second = await side.resume(first, answers(first.tool_calls))
    last = await side.resume(second, answers(second.tool_calls))
    _, *resumes = [entry for entry in log if entry["phase"] == "request"]
    return [second.iterations_used, last.output, *([sent["path"], shown(sent["request_body"])] for sent in resumes)]


def shown(body: dict[str, Any]) -> dict[str, Any]:
    """A resume's body, its long members told in a few words."""
    return body | {
        "tools": body["tools"] == TOOLS,
        "toolCallMessages": [message["content"] or message["role"] for message in body["toolCallMessages"]],
    }


@scenario(["x → snake", "y → output"])
async def older_spellings_of_results(side: Side) -> Any:
    paused = await done(side.flow("acme/demo/tools-enabled").execute("x", tools=TOOLS[:1]))
    other = await done(side.flow("acme/demo/tools-enabled").execute("y", tools=TOOLS[:1]))
    return [
        (await side.resume(paused, [{"tool_call_id": paused.tool_calls[0]["id"], "content": "snake"}])).output,
        (await side.resume(other, [{"toolCallId": other.tool_calls[0]["id"], "output": "output"}])).output,
    ]


@scenario({"caught": "FlowExecutionError", "status_code": 400, "code": "TOOL_RESULTS_MISMATCH", "request_id": "<id 1>"})
async def results_that_answer_nothing(side: Side) -> Any:
    paused = await done(side.flow(FLOW).execute("Rome", tools=TOOLS))
    return await caught(FlowExecutionError, lambda: side.resume(paused, []))


@scenario(
    {
        "caught": "FlowExecutionError",
        "status_code": 400,
        "code": "PAUSED_STEP_INVALID",
        "request_id": "<id 1>",
        "asked": 3,
    }
)
async def resumed_twice(side: Side) -> Any:
    paused = await done(side.flow("acme/demo/tools-enabled").execute("x", tools=TOOLS[:1]))
    results = answers(paused.tool_calls)
    await side.resume(paused, results)
    refusal = await caught(FlowExecutionError, lambda: side.resume(paused, results))
    return refusal | {"asked": len(asked())}


@scenario([True, True, 1])
async def resumed_in_the_other_client_s_way(side: Side) -> Any:
    paused = await done(side.flow(FLOW).execute("Rome", tools=TOOLS))
    wrong = paused.resume if side.name == "sync" else paused.resume_sync
    remedy = "resume_sync" if side.name == "sync" else "AsyncNoukai"
    refusal = await caught(TypeError, lambda: wrong(tool_results=answers(paused.tool_calls)), says=remedy)
    return ["caught" in refusal, all(refusal.values()), len(asked())]


@scenario({"caught": "RuntimeError", "says 'manually constructed'": True})
async def a_pause_made_by_hand(side: Side) -> Any:
    members = {"executionId": "e", "pausedAtStep": "s", "iterationsUsed": 1, "toolCallMessages": [], "toolCalls": []}
    paused = PausedResult.model_validate({"status": "tool_calls_required", "flowId": "f", "blockCount": 1, **members})
    return await caught(RuntimeError, lambda: side.resume(paused, []), says="manually constructed")


@scenario([{"caught": "RuntimeError", "says 'manually constructed'": True}, True])
async def a_pause_rebuilt_from_its_dump(side: Side) -> Any:
    paused = await done(side.flow(FLOW).execute("Rome", tools=TOOLS))
    rebuilt = PausedResult.model_validate_json(paused.model_dump_json(by_alias=True))
    refusal = await caught(RuntimeError, lambda: side.resume(rebuilt, []), says="manually constructed")
    return [refusal, rebuilt.tool_calls == paused.tool_calls]


@scenario(["s-1", None, ["s-1", "s-1"]])
async def the_session_after_a_resume(side: Side) -> Any:
    """The server knows whose run it is; what does the caller see?"""
    paused = await done(side.flow("acme/demo/tools-enabled").execute("x", tools=TOOLS[:1], session_id="s-1"))
    outcome = await side.resume(paused, answers(paused.tool_calls))
    told = [request["session_id"] for request in control("GET", "counts")["requests"]]
    return [paused.session_id, outcome.session_id, told]


@scenario("Rome: no tools")
async def tools_that_are_not_offered_are_not_called(side: Side) -> Any:
    return (await done(side.flow(FLOW).execute("Rome"))).output


@scenario([[], ["weather"], ["clock"]])
async def a_tool_choice(side: Side) -> Any:
    flow = side.flow("acme/demo/tools-enabled")
    forced = {"type": "function", "function": {"name": "clock"}}
    outcomes = [
        await done(flow.execute("x", tools=TOOLS, tool_choice=choice)) for choice in ("none", "required", forced)
    ]
    return [[call["function"]["name"] for call in getattr(outcome, "tool_calls", [])] for outcome in outcomes]


@scenario(
    [
        {"caught": "NoukaiError", "status_code": 400, "code": "TOOLS_INVALID", "request_id": "<id 1>"},
        {"caught": "NoukaiError", "status_code": 400, "code": "TOOL_NAME_INVALID", "request_id": "<id 2>"},
        {"caught": "NoukaiError", "status_code": 400, "code": "TOOLS_NOT_ENABLED", "request_id": "<id 3>"},
    ]
)
async def tools_that_are_refused(side: Side) -> Any:
    flow = side.flow(FLOW)
    many = [tool(f"t{number}") for number in range(65)]
    return [
        await caught(NoukaiError, lambda: flow.execute("x", tools=many)),
        await caught(NoukaiError, lambda: flow.execute("x", tools=[tool("two words")])),
        await caught(NoukaiError, lambda: side.flow("acme/compat/echo").execute("x", tools=TOOLS)),
    ]
