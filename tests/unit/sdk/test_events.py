"""Typed events: no odd field costs an event; checkpoints, messages and results as values."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from noukai_sdk import ChatMessage, Checkpoint, ExecuteResult, Frame, PausedResult, StepCompleted, TokenBreakdown


def event(name: str, /, **payload: Any) -> Any:
    return Frame(name, json.dumps(payload).encode(), payload).event()


def test_events_have_their_fields() -> None:
    step = event(
        "step_completed",
        stepId="a",
        name="A",
        output={"x": 1},
        durationMs=3,
        tokens={"prompt": 1, "completion": 2, "total": 3},
        costUsd="0.1",
        stepIndex=2,
        unknown=1,
    )
    assert isinstance(step, StepCompleted)
    assert (step.event_type, step.step_id, step.name, step.output) == ("step_completed", "a", "A", {"x": 1})
    assert (step.duration_ms, step.cost_usd, step.step_index) == (3, "0.1", 2)
    assert step.tokens == TokenBreakdown(prompt=1, completion=2, total=3)
    assert event("flow_started", runId="R").event_type == "flow_started"
    assert StepCompleted(step_id="a").event_type == "step_completed"


@pytest.mark.parametrize(
    ("name", "payload", "field", "value"),
    [
        ("step_completed", {"costUsd": 0.25}, "cost_usd", "0.25"),
        ("step_completed", {"costUsd": 1}, "cost_usd", "1"),
        ("step_completed", {"costUsd": {"amount": 1}}, "cost_usd", {"amount": 1}),
        ("step_completed", {"durationMs": 12.5}, "duration_ms", 12.5),
        ("step_completed", {"tokens": None}, "tokens", None),
        ("step_completed", {"tokens": {"prompt": None, "total": 2}}, "tokens", TokenBreakdown(total=2)),
        ("step_completed", {"tokens": "many"}, "tokens", "many"),
        ("step_completed", {"stepIndex": None}, "step_index", 0),
        ("step_completed", {"stepId": 7}, "step_id", 7),
        ("step_completed", {"stepId": None}, "step_id", ""),
        ("step_completed", {}, "step_id", ""),
        ("step_error", {"error": "text"}, "error", "text"),
        ("step_input", {"inputData": [1]}, "input_data", [1]),
        ("step_paused_for_tool_calls", {"accumulatedOutputs": None}, "accumulated_outputs", {}),
        ("step_paused_for_tool_calls", {}, "run_id", ""),
        ("run_started", {"stepCount": "two"}, "step_count", "two"),
        ("flow_completed", {"summary": [1]}, "summary", [1]),
        ("run_started", {"eventType": "nonsense"}, "event_type", "run_started"),
    ],
)
def test_odd_fields_are_kept(name: str, payload: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(event(name, **payload), field) == value


def test_unknown_types_have_no_event() -> None:
    assert event("step_progress", stepId="a") is None
    assert "step_progress" in repr(Frame("step_progress", b"{}", {}))


def test_checkpoints_as_json() -> None:
    checkpoint = Checkpoint("E", 2, {"a": {"b": [1]}})
    assert Checkpoint.from_dict(json.loads(json.dumps(checkpoint.to_dict()))) == checkpoint
    assert Checkpoint.from_dict(Checkpoint().to_dict()) == Checkpoint(None, 0, {})
    assert pickle.loads(pickle.dumps(checkpoint)) == checkpoint


@pytest.mark.parametrize(
    "value", [{"execution_id": 1}, {"step_index": -1}, {"step_index": True}, {"step_index": "0"}, {"outputs": []}]
)
def test_checkpoints_that_are_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="checkpoint"):
        Checkpoint.from_dict(value)


def test_chat_messages_take_either_spelling() -> None:
    by_alias = ChatMessage.model_validate({"role": "tool", "toolCallId": "c", "extra": 1})
    assert by_alias == ChatMessage.model_validate({"role": "tool", "tool_call_id": "c", "extra": 1})


def test_results_by_name_or_alias() -> None:
    by_name = ExecuteResult(status="completed", result=1, flow_id="F", block_count=2)
    by_alias = ExecuteResult.model_validate({"status": "completed", "result": 1, "flowId": "F", "blockCount": 2})
    assert by_name == by_alias
    assert (by_name.output, by_name.session_id, by_name.requires_tool_calls) == (1, None, False)


def test_a_paused_result_that_nobody_returned_cannot_resume() -> None:
    paused = PausedResult(
        execution_id="E", paused_at_step="s", iterations_used=1, tool_call_messages=[], flow_id="F", block_count=1
    )
    assert paused.requires_tool_calls
    with pytest.raises(RuntimeError, match="manually constructed"):
        paused.resume_sync(tool_results=[])
