"""Functions that answer the tool calls of flows: what they are given, and what the flow is told."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from noukai_worker import tools
from noukai_worker.errors import InvalidRequest, ToolFailed


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_functions", {})


def call(name: str, arguments: Any = "{}", call_id: str = "t1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def answered(*calls: dict[str, Any], limit: float = 10) -> list[str]:
    results = asyncio.run(tools.answer(calls, run_id="r", metadata={"user": 5}, limit=limit))
    assert [(result["role"], result["toolCallId"]) for result in results] == [("tool", one["id"]) for one in calls]
    return [result["content"] for result in results]


def test_a_function_gets_the_arguments_by_name() -> None:
    @tools.register("add")
    def add(a: int, b: int) -> int:
        return a + b

    assert add(1, 2) == 3, "it stays what it was"
    assert answered(call("add", '{"a": 1, "b": 2}')) == ["3"]
    assert answered(call("add", {"a": 1, "b": 2})) == ["3"], (
        "an object in the place of a text, as the service's docs have it"
    )


def test_text_stays_text_and_everything_else_becomes_json() -> None:
    for name, result in (("text", "18 °C"), ("object", {"t": 18.5}), ("nothing", None), ("nan", float("nan"))):
        tools.register(name)(lambda result=result: result)
    calls = [call(name, call_id=name) for name in ("text", "object", "nothing", "nan")]
    assert answered(*calls) == ["18 °C", '{"t":18.5}', "null", "null"]


def test_coroutines_and_plain_functions_run_at_the_same_time() -> None:
    met, both = threading.Event(), []

    @tools.register("plain")
    def plain() -> str:
        assert met.wait(10)
        both.append("plain")
        return "p"

    @tools.register("async")
    async def coroutine() -> str:
        met.set()
        both.append("async")
        return "a"

    assert answered(call("plain", call_id="1"), call("async", call_id="2")) == ["p", "a"]
    assert both == ["async", "plain"]


def test_a_function_can_ask_which_call_it_answers() -> None:
    @tools.register("who")
    def who() -> list[Any]:
        about = tools.call()
        return [about.run_id, about.id, about.name, about.metadata["user"]]

    @tools.register("who-async")
    async def who_async() -> list[Any]:
        return who()

    assert [json.loads(text) for text in answered(call("who", call_id="1"), call("who-async", call_id="2"))] == [
        ["r", "1", "who", 5],
        ["r", "2", "who-async", 5],
    ]
    with pytest.raises(LookupError):
        tools.call()


def test_a_failure_is_told_to_the_flow_without_what_it_may_hold(caplog: pytest.LogCaptureFixture) -> None:
    @tools.register("broken")
    def broken() -> None:
        raise RuntimeError("password=hunter2")

    @tools.register("refusing")
    async def refusing() -> None:
        raise ToolFailed("no such city")

    assert answered(call("broken", call_id="1"), call("refusing", call_id="2")) == [
        '{"error":"the tool failed: RuntimeError"}',
        '{"error":"no such city"}',
    ]
    assert "run r: the tool broken failed" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), StopIteration(1), asyncio.CancelledError()])
def test_whatever_a_function_raises_is_a_result(error: BaseException) -> None:
    """`sys.exit` in a library must not end the worker's loop, nor have the flow wait for the limit."""

    @tools.register("plain")
    def plain() -> None:
        raise error

    @tools.register("async")
    async def coroutine() -> None:
        raise error

    plain_says, async_says = map(json.loads, answered(call("plain", call_id="1"), call("async", call_id="2")))
    for says in (plain_says, async_says):
        assert says["error"].startswith("the tool failed: ")


@pytest.mark.parametrize(
    "result", ["\ud800", {"a": object()}, {1: {2}, "x": "\ud800"}], ids=["half a character", "an object", "both"]
)
def test_a_result_that_cannot_be_stored_is_an_error_of_the_tool(result: Any) -> None:
    tools.register("odd")(lambda: result)
    (told,) = answered(call("odd"))
    assert "error" in json.loads(told)


def test_an_attempt_that_is_interrupted_does_not_wait_for_its_functions() -> None:
    begun = asyncio.Event()

    @tools.register("slow")
    async def slow() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def main() -> None:
        answering = asyncio.create_task(tools.answer([call("slow")], run_id="r", metadata={}, limit=30))
        await begun.wait()
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering

    asyncio.run(main())


@pytest.mark.parametrize("arguments", ["{", "[1]", '{"a": 1}'])
def test_arguments_that_do_not_fit_are_told_to_the_flow(arguments: str) -> None:
    tools.register("none")(lambda: None)
    assert "error" in json.loads(answered(call("none", arguments))[0])


def test_nobody_waits_longer_than_the_limit() -> None:
    release = threading.Event()
    tools.register("stuck")(lambda: release.wait(30))

    @tools.register("stuck-async")
    async def stuck() -> None:
        await asyncio.Event().wait()

    told = '{"error":"the tool took more than 0.05 s"}'
    assert answered(call("stuck", call_id="1"), call("stuck-async", call_id="2"), limit=0.05) == [told, told]
    release.set()


def test_whether_all_calls_can_be_answered_is_known_before_any_is() -> None:
    tools.register("one")(lambda: None)
    assert tools.known([call("one"), call("one")])
    assert not tools.known([call("one"), call("other")])
    assert not tools.known([])
    assert not tools.known([{"id": "x"}])


def test_a_name_has_one_function() -> None:
    def first() -> None: ...

    def second() -> None: ...

    tools.register("name")(first)
    tools.register("name")(first)
    with pytest.raises(InvalidRequest, match="two functions"):
        tools.register("name")(second)


def test_modules_that_cannot_be_imported_are_named() -> None:
    tools.load(["json"])
    with pytest.raises(InvalidRequest, match="no_such_module_here"):
        tools.load(["no_such_module_here"])
