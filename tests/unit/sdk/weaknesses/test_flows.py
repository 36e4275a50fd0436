"""WIRE.md 8.6, 8.14, 8.15, 8.17: what a service says oddly, or says of a failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from noukai_sdk import (
    ExecuteResult,
    FlowExecutionError,
    JobStatus,
    StepFailed,
    StepFailedError,
    StreamProtocolError,
    ToolCallsRequired,
)
from noukai_sdk.testing import Exchange, sse

# Event, odd member, and how the typed event shows it.
ODD: Sequence[tuple[str, dict[str, Any], str, Any]] = [
    ("step_completed", {"costUsd": 0.25}, "cost_usd", "0.25"),
    ("step_completed", {"durationMs": 12.5}, "duration_ms", 12.5),
    ("step_completed", {"tokens": {"prompt": None, "completion": 1, "total": 1}}, "output", "a"),
    ("step_completed", {"stepIndex": None}, "step_index", 0),
    ("step_completed", {"stepIndex": "x", "name": 5, "tokens": [1]}, "name", 5),
    ("step_started", {"stepIndex": None}, "step_index", 0),
    ("step_input", {"inputData": [1]}, "input_data", [1]),
    ("step_output", {"outputData": None, "name": {}}, "output_data", None),
]


@pytest.mark.parametrize(("name", "odd", "attribute", "value"), ODD)
@pytest.mark.parametrize("method", ["steps", "events"])
def test_an_odd_member_costs_neither_its_event_nor_a_request(
    side: Any, method: str, name: str, odd: dict[str, Any], attribute: str, value: Any
) -> None:
    completed = {"stepId": "a", "output": "a", **(odd if name == "step_completed" else {})}
    frames = [sse(name, {"stepId": "a", **odd})] if name != "step_completed" else []
    exchanges = [
        Exchange.stream(*frames, sse("step_completed", completed), sse("step_paused", stepIndex=None)),
        Exchange.stream(sse("step_completed", stepId="b", output="b"), sse("flow_completed", result="b")),
    ]
    played = side.play(exchanges, method=method)
    assert played.error is None
    assert [body["stepIndex"] for body in played.transport.bodies] == [0, 1]
    assert played.transport.bodies[1]["accumulatedOutputs"] == {"a": "a"}
    assert [event.output for event in played.items if event.event_type == "step_completed"] == ["a", "b"]
    if method == "events" or name == "step_completed":
        event = next(event for event in played.items if event.event_type == name)
        assert getattr(event, attribute) == value
        assert event.raw.items() >= {**odd, **({"stepIndex": 0} if "stepIndex" in odd else {})}.items()


def test_an_odd_error_of_a_step_is_kept_and_ends_the_flow(side: Any) -> None:
    for error in ("text", ["list"], None, 5):
        played = side.play([Exchange.stream(sse("step_error", stepId="a", error=error))], method="steps")
        assert played.error is None
        assert [event.error for event in played.items] == [error]


@pytest.mark.parametrize("method", ["steps", "events"])
def test_no_server_gets_the_same_step_asked_for_again(side: Any, method: str, tool_pause: Any) -> None:
    # The script has one exchange: a second request would be an AssertionError.
    stuck = side.play([Exchange.stream(sse("run_started", executionId="E"), sse("step_paused"))], method=method)
    assert type(stuck.error) is StreamProtocolError
    nameless = side.play([Exchange.stream(sse("step_completed", output=1), sse("step_paused"))], method=method)
    assert type(nameless.error) is StreamProtocolError
    unanswered = side.play(tool_pause[:1], method=method)
    assert unanswered.error is None
    assert isinstance(unanswered.items[-1], ToolCallsRequired)
    for played in (stuck, nameless, unanswered):
        assert len(played.transport.requests) == 1


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        ({"code": "MODEL", "message": "overloaded"}, "step 'a' failed (MODEL: overloaded)", "MODEL"),
        ("overloaded", "step 'a' failed (overloaded)", None),
        (None, "step 'a' failed (no reason was given)", None),
        ({"code": 5}, "step 'a' failed (no reason was given)", None),
    ],
)
def test_the_output_of_a_failed_step_cannot_be_read_by_mistake(side: Any, error: Any, text: str, code: Any) -> None:
    frames = sse("step_completed", stepId="z", output=1), sse("step_error", stepId="a", error=error)
    completed, failed = side.play([Exchange.stream(*frames)], method="steps").items
    assert completed.output == 1
    assert isinstance(failed, StepFailed)
    with pytest.raises(StepFailedError) as caught:
        failed.output  # noqa: B018 -- as the published guide's loop does
    assert (str(caught.value), caught.value.code, caught.value.response_body) == (text, code, failed.raw)
    assert isinstance(caught.value, FlowExecutionError)
    # The guide tells outputs from other events by this.
    assert not hasattr(failed, "output")
    assert getattr(failed, "output", None) is None


def test_a_failed_run_is_a_result_and_an_error_for_those_who_ask(side: Any) -> None:
    done, _ = side.execute([Exchange.completed(1)])
    assert done.raise_for_status() is done
    failed, _ = side.execute([Exchange.completed("no luck", status="failed")])
    assert (type(failed), failed.status, failed.output) == (ExecuteResult, "failed", "no luck")
    with pytest.raises(FlowExecutionError, match=r"^the run is failed, not completed \(no luck\)$") as caught:
        failed.raise_for_status()
    assert (caught.value.execution_id, caught.value.status_code) == ("E", None)
    assert caught.value.response_body == failed.raw


@pytest.mark.parametrize("word", ["completed", "failed", "cancelled", "queued", "started", "pending", "novel"])
def test_any_word_is_a_status_of_a_job(side: Any, word: str) -> None:
    cause = {"code": "C", "message": "why"}
    flow, _ = side.flow([Exchange.json({"executionId": "E", "status": word, "error": cause})])
    status = side.get(flow.job("E").poll())
    assert (type(status), status.status, status.error) == (JobStatus, word, cause)
    assert status.is_final == (word in {"completed", "failed", "cancelled"})
    if word == "completed":
        assert status.raise_for_status() is status
    else:
        with pytest.raises(FlowExecutionError, match=rf"the run is {word}, not completed \(why\)") as caught:
            status.raise_for_status()
        assert (caught.value.code, caught.value.execution_id) == ("C", "E")


def test_the_service_can_be_asked_to_call_back(side: Any) -> None:
    accepted = Exchange.json({"executionId": "E", "status": "started", "flowId": "F", "blockCount": 1}, 202)
    flow, transport = side.flow([accepted] * 3)
    url = "https://app.example/done"
    side.get(flow.execute_async("hi", callback_url=url, callback_events=["flow.failed"]))
    side.get(flow.execute_async("hi", callback_url=url))
    side.get(flow.execute_async("hi"))
    asked = [{name: body[name] for name in body if name.startswith("callback")} for body in transport.bodies]
    assert asked == [{"callbackUrl": url, "callbackEvents": ["flow.failed"]}, {"callbackUrl": url}, {}]
    for wrong in (
        {"callback_url": "http://app.example"},
        {"callback_url": ""},
        {"callback_events": ["flow.failed"]},
        {"callback_url": url, "callback_events": "flow.failed"},
    ):
        with pytest.raises(ValueError, match="callback_"):
            side.get(flow.execute_async("hi", **wrong))
    assert len(transport.requests) == 3
