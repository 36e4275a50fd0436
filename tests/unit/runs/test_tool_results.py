"""Tool results as people write them, as the service takes them, and whether they answer what waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from noukai_worker.errors import InvalidRequest, PayloadTooLarge
from noukai_worker.runs.tool_results import fitted, read

CALLS = [{"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in ("a", "b")]
DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]


def sent(name: str, content: str, **rest: Any) -> dict[str, Any]:
    return {"role": "tool", "toolCallId": name, "content": content, **rest}


@pytest.mark.parametrize(
    ("given", "results"),
    [
        ([{"tool_call_id": "a", "content": "x"}], [sent("a", "x")]),
        ([{"toolCallId": "a", "output": "x", "role": "tool"}], [sent("a", "x")]),
        (({"tool_call_id": "a", "content": "x", "is_error": True},), [sent("a", "x", is_error=True)]),
        ({"a": "18 °C", "b": {"n": [1, None]}}, [sent("a", "18 °C"), sent("b", '{"n": [1, null]}')]),
        ([{"tool_call_id": "a", "content": None}], [sent("a", "null")]),
        ([], []),
    ],
)
def test_every_way_to_write_results_becomes_the_services(given: Any, results: list[dict[str, Any]]) -> None:
    assert read(given, 1000) == results


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("text", "list"),
        (b"bytes", "list"),
        (None, "list"),
        (5, "list"),
        (["x"], r"tool_results\[0\]"),
        ([{"content": "x"}], "needs tool_call_id"),
        ([{"tool_call_id": "a"}], "needs content"),
        ([{"tool_call_id": "a", "content": "x", "output": "y"}], "only one of content or output"),
        ([{"tool_call_id": "a", "toolCallId": "b", "content": "x"}], "only one of tool_call_id"),
        ([{"tool_call_id": 5, "content": "x"}], "as text"),
        ([{"tool_call_id": "", "content": "x"}], "as text"),
        ([{"tool_call_id": "a", "content": "x", "role": "user"}], "its role"),
        ([{"tool_call_id": "a", "content": "x"}] * 2, r"tool_results\[1\]: a is answered twice"),
        ({"a": float("nan")}, "JSON"),
        ({"a": datetime.now(UTC)}, "JSON"),
        ({"a": "\ud800"}, "JSON"),
        ({"a": DEEP}, "JSON"),
        ([{"tool_call_id": "a", "content": "x", "more": {1j}}], "JSON"),
        ({5: "x"}, "as text"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(given: Any, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        read(given, 1000)
    assert "\n" not in str(caught.value)


def test_the_size_is_limited_in_bytes() -> None:
    with pytest.raises(PayloadTooLarge, match=r"tool_results: 1,.* the limit is 1,000: send less") as caught:
        read({"a": "é" * 600}, 1000)
    assert caught.value.limit == 1000


def test_results_are_sent_in_the_order_of_the_calls() -> None:
    assert fitted([sent("b", "2"), sent("a", "1")], CALLS) == [sent("a", "1"), sent("b", "2")]


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (["a"], "no result for b"),
        ([], "no result for a, b"),
        (["a", "b", "c"], "nobody asked for c; the run waits for a, b"),
    ],
)
def test_every_call_is_answered_and_nothing_else(answers: list[str], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        fitted([sent(name, "x") for name in answers], CALLS)


@pytest.mark.parametrize("calls", [[], ["odd"], [{"function": {}}], [{"id": 5}]])
def test_what_the_service_did_not_name_is_not_checked(calls: list[str | Mapping[str, Any]]) -> None:
    assert fitted([sent("a", "x")], calls) == [sent("a", "x")]
