"""A paused result can be stored, and resumed anywhere, once."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from noukai_sdk import APIConnectionError, FlowExecutionError, NoukaiError, PausedResult, RateLimitError
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
INPUT: dict[str, Any] = {
    "parameters": {"p": 1, "none": None},
    "block_overrides": {"s1": {"model": "m"}},
    "attachments": [{"kind": "url", "url": "https://x"}],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": {"type": "function"},
    "trace": True,
    "version": 3,
}
RESUME_BODY = {
    "parameters": {"p": 1, "none": None},
    "blockOverrides": {"s1": {"model": "m"}},
    "attachments": [{"kind": "url", "url": "https://x"}],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "toolChoice": {"type": "function"},
    "executionId": "E",
    "pausedAtStep": "s1",
    "iterationsUsed": 1,
    "toolCallMessages": [{"role": "user", "content": "q"}, RESULT],
    "accumulatedOutputs": {"a": 1},
    "trace": True,
}


def done() -> Exchange:
    return Exchange.json(DONE)


def paused() -> Exchange:
    return Exchange.json(PAUSED)


def rebuilt(result: PausedResult) -> PausedResult:
    """As another process would read it."""
    return PausedResult.model_validate_json(result.model_dump_json())


STORES: list[Callable[[PausedResult], PausedResult]] = [
    rebuilt,
    lambda result: PausedResult.model_validate_json(result.model_dump_json(by_alias=True)),
    lambda result: PausedResult.model_validate(json.loads(json.dumps(result.model_dump()))),
    lambda result: pickle.loads(pickle.dumps(result)),
    lambda result: result,
]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("other", ["sync", "async"])
def test_a_pause_is_resumed_elsewhere_with_all_that_the_fresh_call_said(
    side: Any, store: Callable[[PausedResult], PausedResult], other: str
) -> None:
    first, fresh = side.execute([paused()], "q", session_id="S", **INPUT)
    stored = store(first)
    assert stored.session_id == "S"
    there = type(side)(other)
    flow, transport = there.flow([done()])
    result = there.get(flow.resume(stored, tool_results=[RESULT]))
    assert transport.bodies == [RESUME_BODY]
    assert transport.requests[0].url.path == fresh.requests[0].url.path == "/api/v1/seq/acme/it/two-step/v3/execute"
    assert "X-Session-Id" not in transport.requests[0].headers
    assert (result.output, result.session_id) == ({"x": 1}, "S")


def test_a_resume_may_pause_again_and_so_on(side: Any) -> None:
    first, _ = side.execute([paused()], "q", session_id="S", **INPUT)
    flow, transport = side.flow([paused(), paused(), done()])
    second = side.get(flow.resume(rebuilt(first), tool_results=[RESULT]))
    third = side.resume(second, [RESULT])  # with the client that resumed
    assert (second.session_id, third.session_id) == ("S", "S")
    assert side.get(flow.resume(rebuilt(third), tool_results=[RESULT])).status == "completed"
    assert [body["parameters"] for body in transport.bodies] == [INPUT["parameters"]] * 3


def test_further_rounds_go_to_the_tool_handler(side: Any) -> None:
    first, _ = side.execute([paused()])
    calls: list[Any] = []

    def answer(tool_calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls.append(tool_calls)
        return [RESULT]

    flow, transport = side.flow([paused(), paused(), done()])
    result = side.get(flow.resume(rebuilt(first), tool_results=[RESULT], tool_handler=answer, timeout=2.5))
    assert (result.status, calls) == ("completed", [[{"id": "c1"}]] * 2)
    assert all(set(request.extensions["timeout"].values()) == {2.5} for request in transport.requests)
    flow, _ = side.flow([paused()])
    with pytest.raises(NoukaiError, match="max_tool_rounds=0"):
        side.get(
            flow.resume(
                rebuilt(side.execute([paused()])[0]), tool_results=[RESULT], tool_handler=answer, max_tool_rounds=0
            )
        )


def test_a_pause_is_resumed_once_however_it_is_tried(side: Any) -> None:
    first, transport = side.execute([paused(), done()])
    stored_before = rebuilt(first)
    twins = [copy.copy(first), copy.deepcopy(first), first.model_copy()]
    side.resume(first, [RESULT])
    flow, others = side.flow([done()])
    for again in (first, rebuilt(first), pickle.loads(pickle.dumps(first))):
        with pytest.raises(RuntimeError, match="resumed already"):
            side.get(flow.resume(again, tool_results=[RESULT]))
    for again in (first, *twins):
        with pytest.raises(RuntimeError, match="resumed already"):
            side.resume(again, [RESULT])
    assert (len(transport.requests), len(others.requests)) == (2, 0)
    # What was written down before knows nothing of it.
    assert side.get(flow.resume(stored_before, tool_results=[RESULT])).status == "completed"


@pytest.mark.parametrize(
    ("exchange", "may_repeat"),
    [
        (Exchange(error=httpx.ConnectError("refused")), True),
        (Exchange.json({"detail": {"code": "TOOL_RESULTS_MISMATCH", "message": "no"}}, 400), True),
        (Exchange.json({}, 401), True),
        (Exchange.json({}, 429), True),
        (Exchange.json({}, 503, {"Retry-After": "3"}), True),
        (Exchange.json({}, 503), False),
        (Exchange.json({}, 500), False),
        (Exchange.json({}, 408), False),
        (Exchange(error=httpx.ReadError("reset")), False),
        (Exchange(error=httpx.ReadTimeout("slow")), False),
        (Exchange(chunks=[b"<html>"]), False),
    ],
)
def test_a_resume_that_the_server_did_not_take_may_be_repeated(side: Any, exchange: Exchange, may_repeat: bool) -> None:
    first, _ = side.execute([paused()])
    flow, _ = side.flow([exchange, done()])
    with pytest.raises(NoukaiError):
        side.get(flow.resume(first, tool_results=[RESULT]))
    if may_repeat:
        assert side.get(flow.resume(first, tool_results=[RESULT])).status == "completed"
    else:
        with pytest.raises(RuntimeError, match="already"):
            side.get(flow.resume(first, tool_results=[RESULT]))


@pytest.mark.parametrize(("results", "kind"), [("text", TypeError), ([{"x": object()}], ValueError)])
def test_results_that_cannot_be_sent_do_not_use_up_the_resume(side: Any, results: Any, kind: type[Exception]) -> None:
    first, _ = side.execute([paused(), done()])
    with pytest.raises(kind):
        side.resume(first, results)
    assert side.resume(first, [RESULT]).status == "completed"


def test_a_failure_in_a_later_round_does_not_free_the_first(side: Any) -> None:
    first, _ = side.execute([paused()])
    for failure, kind in ((httpx.ConnectError("refused"), APIConnectionError), (None, TypeError)):
        again = rebuilt(first)
        flow, _ = side.flow([paused(), Exchange(error=failure), done()])
        with pytest.raises(kind):
            side.get(
                flow.resume(again, tool_results=[RESULT], tool_handler=lambda _, ok=failure: [RESULT] if ok else 5)
            )
        with pytest.raises(RuntimeError, match="already"):
            side.get(flow.resume(again, tool_results=[RESULT]))


def test_a_pause_of_another_flow_is_refused(side: Any) -> None:
    first, _ = side.execute([paused()])
    flow, _ = side.flow([])
    first.origin.flow = "acme/it/other"
    with pytest.raises(ValueError, match=r"belongs to acme/it/other.*client\.flow\('acme/it/other'\)\.resume"):
        side.get(flow.resume(first, tool_results=[RESULT]))
    first.origin.flow = None
    with pytest.raises(ValueError, match="belongs to no flow"):
        side.get(flow.resume(first, tool_results=[RESULT]))


def test_a_rebuilt_pause_says_how_it_is_resumed(side: Any) -> None:
    first, _ = side.execute([paused()])
    for stored in (rebuilt(first), pickle.loads(pickle.dumps(first))):
        with pytest.raises(RuntimeError, match=r"client\.flow\('acme/it/two-step'\)\.resume\(paused, tool_results"):
            side.resume(stored, [RESULT])


def test_a_pause_that_nobody_returned_cannot_be_resumed(side: Any) -> None:
    flow, _ = side.flow([])
    for by_hand in (
        PausedResult.model_validate(PAUSED),
        PausedResult.model_validate({**PAUSED, "origin": "here"}),
        PausedResult.model_validate({**PAUSED, "origin": {"novel": 1}}),
    ):
        assert by_hand.session_id is None
        with pytest.raises(RuntimeError, match="manually constructed"):
            side.resume(by_hand, [RESULT])
        with pytest.raises(RuntimeError, match="manually constructed"):
            side.get(flow.resume(by_hand, tool_results=[RESULT]))


def test_the_wire_cannot_name_an_origin(side: Any) -> None:
    first, _ = side.execute([Exchange.json({**PAUSED, "origin": {"flow": "acme/it/other", "resumed": True}})])
    assert (first.origin.flow, first.origin.resumed) == ("acme/it/two-step", False)


def test_a_limit_of_the_server_is_told_with_its_wish(side: Any) -> None:
    first, _ = side.execute([paused()])
    flow, _ = side.flow([Exchange.json({}, 429, {"Retry-After": "7"})])
    with pytest.raises(RateLimitError) as caught:
        side.get(flow.resume(first, tool_results=[RESULT]))
    assert caught.value.retry_after == 7.0
    flow, _ = side.flow([Exchange.json({}, 500)])
    with pytest.raises(FlowExecutionError):
        side.get(flow.resume(first, tool_results=[RESULT]))
