"""`execute`: what goes in, what comes out (WIRE.md 3)."""

from __future__ import annotations

import warnings
from typing import Any

from noukai_sdk import (
    APIConnectionError,
    APITimeoutError,
    ChatMessage,
    ExecuteResult,
    FlowExecutionError,
    NoukaiError,
    PausedResult,
)

from .stage import Side, asked, caught, control, done, result, scenario

ECHO = "acme/compat/echo"
IMAGE = {"kind": "url", "url": "https://acme.example/cat.png", "mime_type": "image/png", "filename": "cat.png"}


async def sent(side: Side, *arguments: Any, **options: Any) -> list[Any]:
    """The path and the body of the request that `execute` makes, and the flow's output."""
    log: list[dict[str, Any]] = []
    flow = side.flow(ECHO, log_handler=log.append, log_payloads=True)
    answer = await done(flow.execute(*arguments, **options))
    return [log[0]["path"], log[0]["request_body"], answer.output]


@scenario(
    {
        "status": "completed",
        "flow_id": "<id 1>",
        "block_count": 1,
        "execution_id": "<id 2>",
        "session_id": None,
        "requires_tool_calls": False,
        "result": "Hello, Ada!",
        "output": "Hello, Ada!",
    }
)
async def a_message(side: Side) -> Any:
    return result(await done(side.flow("acme/demo/hello-world").execute("Ada")))


@scenario(
    [
        "/seq/acme/compat/echo/execute",
        {"message": "Ada", "parameters": {}, "iterationsUsed": 0, "accumulatedOutputs": {}, "trace": False},
        {"message": "Ada", "parameters": {}, "input": "Ada"},
    ]
)
async def a_message_by_name(side: Side) -> Any:
    return await sent(side, message="Ada")


@scenario(
    [
        "/seq/acme/compat/echo/execute",
        {"parameters": {"tone": "dry", "nothing": None}, "iterationsUsed": 0, "accumulatedOutputs": {}, "trace": False},
        {"message": None, "parameters": {"tone": "dry", "nothing": None}, "input": None},
    ]
)
async def parameters_only(side: Side) -> Any:
    return await sent(side, parameters={"tone": "dry", "nothing": None})


@scenario({"caught": "NoukaiError", "status_code": 400, "code": "MISSING_MESSAGE", "request_id": "<id 1>"})
async def no_input_at_all(side: Side) -> Any:
    return await caught(NoukaiError, lambda: side.flow(ECHO).execute())


@scenario(
    [
        "/seq/acme/compat/echo/execute",
        {
            "messages": [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "toolCalls": [{"id": "c1"}]},
                {"role": "tool", "content": "42", "toolCallId": "c1", "name": "calc"},
                {"role": "user", "content": "And now?", "extra": [1, None]},
            ],
            "parameters": {},
            "iterationsUsed": 0,
            "accumulatedOutputs": {},
            "trace": False,
        },
        {"message": "And now?", "parameters": {}, "input": "And now?"},
    ]
)
async def messages_of_both_kinds(side: Side) -> Any:
    messages = [
        ChatMessage(role="user", content="Hello"),
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
        ChatMessage(role="tool", content="42", tool_call_id="c1", name="calc"),
        {"role": "user", "content": "And now?", "extra": [1, None]},
    ]
    return await sent(side, messages=messages)


@scenario({"caught": "ValueError", "says 'not both'": True, "asked": []})
async def message_and_messages(side: Side) -> Any:
    flow, messages = side.flow(ECHO), [{"role": "user", "content": "x"}]
    refusal = await caught(ValueError, lambda: flow.execute("x", messages=messages), says="not both")
    return refusal | {"asked": asked()}


@scenario([{"caught": "ValueError", "says 'not allowed'": True}, {"caught": "ValueError"}, []])
async def roles_that_are_none(side: Side) -> Any:
    flow = side.flow(ECHO)
    system = await caught(
        ValueError, lambda: flow.execute(messages=[{"role": "system", "content": "x"}]), says="not allowed"
    )
    return [system, await caught(ValueError, lambda: flow.execute(messages=[{"content": "x"}])), asked()]


@scenario(
    [
        "/seq/acme/compat/echo/execute",
        {"message": "x", "parameters": {}, "iterationsUsed": 0, "accumulatedOutputs": {}, "trace": False},
        {"message": "x", "parameters": {}, "input": "x"},
    ]
)
async def empty_messages_are_none(side: Side) -> Any:
    return await sent(side, "x", messages=[])


@scenario(
    [
        {"caught": "FlowExecutionError", "status_code": 413, "code": "MESSAGES_TOO_LARGE", "request_id": "<id 1>"},
        ["UserWarning"],
    ]
)
async def a_conversation_that_is_too_large(side: Side) -> Any:
    flow, messages = side.flow(ECHO), [{"role": "user", "content": "x" * 1_000_001}]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        refusal = await caught(FlowExecutionError, lambda: flow.execute(messages=messages))
    return [refusal, [warning.category.__name__ for warning in seen if "noukai" not in warning.category.__module__]]


@scenario(
    [
        "/seq/acme/compat/echo/execute",
        {
            "message": "x",
            "parameters": {},
            "blockOverrides": {"say": {"prompt": "Say it loudly"}},
            "attachments": [
                {"kind": "url", "url": "https://acme.example/cat.png", "mime_type": "image/png", "filename": "cat.png"}
            ],
            "iterationsUsed": 0,
            "accumulatedOutputs": {},
            "trace": True,
        },
        {"message": "x", "parameters": {}, "input": "Say it loudly"},
    ]
)
async def attachments_and_overrides(side: Side) -> Any:
    overrides = {"say": {"prompt": "Say it loudly"}}
    return await sent(side, "x", attachments=[IMAGE], block_overrides=overrides, trace=True)


@scenario(
    [
        {"caught": "FlowExecutionError", "status_code": 400, "code": "ATTACHMENTS_INVALID", "request_id": "<id 1>"},
        {"caught": "FlowExecutionError", "status_code": 400, "code": "ATTACHMENTS_INVALID", "request_id": "<id 2>"},
        {"caught": "FlowExecutionError", "status_code": 400, "code": "MODEL_MIME_INCOMPATIBLE", "request_id": "<id 3>"},
    ]
)
async def attachments_that_are_refused(side: Side) -> Any:
    flow = side.flow(ECHO)
    return [
        await caught(FlowExecutionError, lambda: flow.execute("x", attachments=[IMAGE] * 11)),
        await caught(FlowExecutionError, lambda: flow.execute("x", attachments=[IMAGE | {"url": "http://a.example"}])),
        await caught(FlowExecutionError, lambda: flow.execute("x", attachments=[IMAGE | {"mime_type": "text/css"}])),
    ]


@scenario(
    [
        "/seq/acme/compat/echo/execute",
        "/seq/acme/compat/echo/v0/execute",
        "/seq/acme/compat/echo/v0/execute",
        "/seq/acme/compat/echo/v1/execute",
        "/seq/acme/compat/echo/v2/execute",
    ]
)
async def versions(side: Side) -> Any:
    return [(await sent(side, "x", version=version))[0] for version in ("production", "draft", 0, 1, 2)]


@scenario({"caught": "FlowExecutionError", "status_code": 400, "code": "INVALID_VERSION", "request_id": "<id 1>"})
async def a_version_that_was_never_published(side: Side) -> Any:
    return await caught(FlowExecutionError, lambda: side.flow(ECHO).execute("x", version=3))


@scenario([{"caught": "ValueError", "says 'Invalid version'": True}] * 4 + [[]])
async def versions_that_are_none(side: Side) -> Any:
    flow = side.flow(ECHO)
    return [
        await caught(ValueError, lambda version=version: flow.execute("x", version=version), says="Invalid version")
        for version in (-1, True, 1.5, "latest")
    ] + [asked()]


@scenario(
    [[None, "of-the-call", "of-the-client", "of-the-call"], [None, "of-the-call", "of-the-client", "of-the-call"]]
)
async def sessions_of_calls_and_clients(side: Side) -> Any:
    """The call's own session wins over the client's; both are told to the server and to the caller."""
    plain, bound = side.flow(ECHO), side.flow(ECHO, session_id="of-the-client")
    answers = [
        await done(plain.execute("1")),
        await done(plain.execute("2", session_id="of-the-call")),
        await done(bound.execute("3")),
        await done(bound.execute("4", session_id="of-the-call")),
    ]
    told = [request["session_id"] for request in control("GET", "counts")["requests"]]
    return [[answer.session_id for answer in answers], told]


@scenario({"caught": "NoukaiError", "asked": 1})
async def a_timeout(side: Side) -> Any:
    flow = side.flow("acme/compat/slow")
    return await caught(NoukaiError, lambda: flow.execute("x", timeout=0.2)) | {"asked": len(asked())}


@scenario([{"caught": "APITimeoutError"}, {"caught": "APIConnectionError"}])
async def the_client_s_timeout(side: Side) -> Any:
    flow = side.flow("acme/compat/slow", timeout=0.2)
    return [
        await caught(APITimeoutError, lambda: flow.execute("x")),
        await caught(APIConnectionError, lambda: flow.execute("x")),
    ]


@scenario(
    {
        "status": "failed",
        "flow_id": "<id 1>",
        "block_count": 2,
        "execution_id": "<id 2>",
        "session_id": None,
        "requires_tool_calls": False,
        "result": "Busy.",
        "output": "Busy.",
    }
)
async def a_flow_that_fails(side: Side) -> Any:
    return result(await done(side.flow("acme/compat/broken").execute("x")))


@scenario("Grüße 你好 🦜 ελληνικά 🐝")
async def text_of_all_languages(side: Side) -> Any:
    return (await done(side.flow("acme/compat/languages").execute("ελληνικά 🐝"))).output


@scenario(
    [
        {
            "status": "completed",
            "flow_id": "f",
            "block_count": 1,
            "execution_id": None,
            "session_id": None,
            "requires_tool_calls": False,
            "result": 1,
            "output": 1,
        },
        {
            "status": "failed",
            "flow_id": "f",
            "block_count": 2,
            "execution_id": "e",
            "session_id": None,
            "requires_tool_calls": False,
            "result": None,
            "output": None,
        },
        {
            "status": "tool_calls_required",
            "flow_id": "f",
            "block_count": 1,
            "execution_id": "e",
            "session_id": None,
            "requires_tool_calls": True,
            "paused_at_step": "s",
            "iterations_used": 1,
            "tool_calls": [],
            "tool_call_messages": [],
            "accumulated_outputs": {},
        },
    ]
)
async def results_made_by_hand(side: Side) -> Any:
    """Applications' own tests build results by field name and by the name on the wire."""
    paused = {"executionId": "e", "pausedAtStep": "s", "iterationsUsed": 1, "toolCallMessages": [], "toolCalls": []}
    return [
        result(ExecuteResult(status="completed", result=1, flow_id="f", block_count=1)),
        result(ExecuteResult.model_validate({"status": "failed", "flowId": "f", "blockCount": 2, "executionId": "e"})),
        result(
            PausedResult.model_validate({"status": "tool_calls_required", "flowId": "f", "blockCount": 1, **paused})
        ),
    ]
