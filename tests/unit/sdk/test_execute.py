"""`execute`: bodies, validation, the tool loop, pauses."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import httpx
import pytest

from noukai_sdk import APIConnectionError, APITimeoutError, ChatMessage, ExecuteResult, PausedResult, ToolCallLimitError
from noukai_sdk.testing import Exchange

DONE = {"status": "completed", "result": {"x": 1}, "flowId": "F", "blockCount": 2, "executionId": "E"}
PAUSED = {
    "status": "tool_calls_required",
    "executionId": "E",
    "pausedAtStep": "s1",
    "iterationsUsed": 1,
    "toolCallMessages": [{"role": "user", "content": "q"}],
    "toolCalls": [{"id": "c1"}],
    "accumulatedOutputs": {"a": 1},
    "flowId": "F",
    "blockCount": 1,
}
RESULT = {"role": "tool", "toolCallId": "c1", "content": "ok"}


def done() -> Exchange:
    return Exchange.json(DONE)


def paused() -> Exchange:
    return Exchange.json(PAUSED)


def test_fresh_bodies_are_exactly_those_of_the_wire(side: Any) -> None:
    result, transport = side.execute([done()], "hi")
    assert transport.requests[0].content == (
        b'{"message":"hi","parameters":{},"iterationsUsed":0,"accumulatedOutputs":{},"trace":false}'
    )
    assert isinstance(result, ExecuteResult)
    assert (result.output, result.result, result.execution_id, result.session_id) == ({"x": 1}, {"x": 1}, "E", None)
    _, transport = side.execute([done()], messages=[])
    assert (
        transport.requests[0].content == b'{"parameters":{},"iterationsUsed":0,"accumulatedOutputs":{},"trace":false}'
    )


def test_everything_that_can_be_sent(side: Any) -> None:
    _, transport = side.execute(
        [done()],
        messages=[ChatMessage(role="user", content="q", mood=None), {"role": "tool", "tool_call_id": "c", "x": None}],
        parameters={"p": None},
        block_overrides={"s": {"model": "m"}},
        attachments=[{"kind": "url"}],
        tools=[{"type": "function"}],
        tool_choice="auto",
        trace=True,
        version=3,
    )
    assert transport.requests[0].url.path == "/api/v1/seq/acme/it/two-step/v3/execute"
    assert transport.bodies[0] == {
        "messages": [{"role": "user", "content": "q"}, {"role": "tool", "toolCallId": "c"}],
        "parameters": {"p": None},
        "blockOverrides": {"s": {"model": "m"}},
        "attachments": [{"kind": "url"}],
        "tools": [{"type": "function"}],
        "toolChoice": "auto",
        "iterationsUsed": 0,
        "accumulatedOutputs": {},
        "trace": True,
    }


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"message": "a", "messages": [{"role": "user"}]}, "not both"),
        ({"message": "", "messages": [{"role": "user"}]}, "not both"),
        ({"messages": [{"role": "system"}]}, "not allowed"),
        ({"messages": [{"content": "x"}]}, "not allowed"),
        ({"messages": [{"role": 1}]}, "not allowed"),
        ({"messages": ["x"]}, "ChatMessage"),
        ({"parameters": {"x": object()}}, "JSON"),
        ({"parameters": {"x": float("nan")}}, "JSON"),
        ({"message": "\ud800"}, "JSON"),
        ({"timeout": -1}, "from 0 on"),
        ({"max_tool_rounds": -1}, "from 0 on"),
        ({"session_id": "\n"}, "ASCII"),
    ],
)
def test_input_that_is_refused_before_it_is_sent(side: Any, kwargs: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        side.execute([], **kwargs)


def test_a_warning_near_the_limit(side: Any) -> None:
    with pytest.warns(UserWarning, match="1 MB"):
        side.execute([done()], messages=[{"role": "user", "content": "x" * 900_000}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        side.execute([done()], messages=[{"role": "user", "content": "x" * 899_000}])


def test_a_failed_flow_is_a_result(side: Any) -> None:
    result, _ = side.execute([Exchange.json({**DONE, "status": "failed", "result": "why"})])
    assert (result.status, result.output) == ("failed", "why")


def test_tool_rounds(side: Any) -> None:
    calls: list[Any] = []

    def answer(tool_calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls.append(tool_calls)
        return [RESULT]

    tools: dict[str, Any] = {"tools": [{"type": "function"}], "tool_choice": "auto", "parameters": {"p": 1}}
    result, transport = side.execute(
        [paused(), paused(), done()], "q", tool_handler=answer, session_id="S", trace=True, version=2, **tools
    )
    assert calls == [[{"id": "c1"}]] * 2
    assert result.session_id == "S"
    assert [request.headers.get("X-Session-Id") for request in transport.requests] == ["S", None, None]
    assert {request.url.path for request in transport.requests} == {"/api/v1/seq/acme/it/two-step/v2/execute"}
    assert transport.bodies[1] == {
        "parameters": {"p": 1},
        "tools": [{"type": "function"}],
        "toolChoice": "auto",
        "executionId": "E",
        "pausedAtStep": "s1",
        "iterationsUsed": 1,
        "toolCallMessages": [{"role": "user", "content": "q"}, RESULT],
        "accumulatedOutputs": {"a": 1},
        "trace": True,
    }


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_the_limit_of_tool_rounds(side: Any, rounds: int) -> None:
    calls: list[Any] = []

    def answer(tool_calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls.append(tool_calls)
        return [RESULT]

    with pytest.raises(ToolCallLimitError, match=f"max_tool_rounds={rounds}") as caught:
        side.execute([paused()] * (rounds + 1), tool_handler=answer, max_tool_rounds=rounds)
    assert len(calls) == rounds
    assert (caught.value.code, caught.value.execution_id) == ("TOOL_CALL_LIMIT_CLIENT", "E")
    assert caught.value.status_code is None


@pytest.mark.parametrize("results", [None, "text", {"role": "tool"}, [1], 5])
def test_tool_results_that_are_none(side: Any, results: Any) -> None:
    with pytest.raises(TypeError, match="tool_handler must give a list"):
        side.execute([paused()], tool_handler=lambda _: results)


def test_tool_results_may_be_chat_messages(side: Any) -> None:
    message = ChatMessage(role="tool", tool_call_id="c1", content="ok")
    _, transport = side.execute([paused(), done()], tool_handler=lambda _: [message])
    assert transport.bodies[1]["toolCallMessages"][-1] == RESULT


def test_what_a_tool_handler_raises_comes_out(side: Any) -> None:
    def fail(_: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        side.execute([paused()], tool_handler=fail)


def test_async_tool_handlers(side: Any) -> None:
    class Tools:
        async def __call__(self, _: Any) -> list[dict[str, Any]]:
            return [RESULT]

    async def answer(_: Any) -> list[dict[str, Any]]:
        return [RESULT]

    for handler in (answer, Tools()):
        if side.kind == "sync":
            with pytest.raises(TypeError, match="sync"):
                side.execute([], tool_handler=handler)
        else:
            result, _ = side.execute([paused(), done()], tool_handler=handler)
            assert result.status == "completed"
    if side.kind == "sync":
        with pytest.raises(TypeError, match="sync"):
            side.execute([paused()], tool_handler=lambda calls: [answer(calls)][0])


def test_pause_and_resume(side: Any) -> None:
    first, transport = side.execute([paused(), paused(), done()], "q", session_id="S")
    assert isinstance(first, PausedResult)
    assert (first.tool_calls, first.session_id) == ([{"id": "c1"}], "S")
    second = side.resume(first, [RESULT])
    assert isinstance(second, PausedResult)
    with pytest.raises(RuntimeError, match="already"):
        side.resume(first, [RESULT])
    assert side.resume(second, [RESULT]).session_id == "S"
    assert len(transport.requests) == 3


def test_the_other_client_s_resume(side: Any) -> None:
    other = type(side)("async" if side.kind == "sync" else "sync")
    first, _ = side.execute([paused()])
    with pytest.raises(TypeError, match="came from AsyncNoukai" if side.kind == "async" else "came from Noukai"):
        other.resume(first, [])


def test_a_resume_that_was_not_sent_may_be_repeated(side: Any) -> None:
    first, _ = side.execute([paused(), Exchange(error=httpx.ConnectError("refused")), done()])
    with pytest.raises(APIConnectionError):
        side.resume(first, [RESULT])
    with pytest.raises(TypeError):
        side.resume(first, "text")
    assert side.resume(first, [RESULT]).status == "completed"


def test_a_resume_that_may_have_been_sent_is_not_repeated(side: Any) -> None:
    first, _ = side.execute([paused(), Exchange(error=httpx.ReadError("reset"))])
    with pytest.raises(APIConnectionError):
        side.resume(first, [RESULT])
    with pytest.raises(RuntimeError, match="already"):
        side.resume(first, [RESULT])


def test_a_paused_result_can_be_stored(side: Any) -> None:
    first, _ = side.execute([paused()], session_id="S")
    for copy in (pickle.loads(pickle.dumps(first)), PausedResult.model_validate_json(first.model_dump_json())):
        assert copy.model_dump() == first.model_dump()
        with pytest.raises(RuntimeError, match="manually constructed"):
            side.resume(copy, [RESULT])


def test_zero_seconds_is_no_time_at_all(side: Any) -> None:
    for kwargs in ({"timeout": 0}, {"options": {"timeout": 0}}):
        with pytest.raises(APITimeoutError) as caught:
            side.execute([], **kwargs)
        assert caught.value.sent is False


def test_timeouts_reach_the_transport(side: Any) -> None:
    _, transport = side.execute([done()], timeout=2.5)
    assert set(transport.requests[0].extensions["timeout"].values()) == {2.5}
    _, transport = side.execute([done()])
    assert set(transport.requests[0].extensions["timeout"].values()) == {300.0}
