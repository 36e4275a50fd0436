"""Results, jobs and traces bear odd members; what makes them what they are must be there."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from noukai_sdk import (
    ExecuteResult,
    JobAccepted,
    JobStatus,
    PausedResult,
    RunSummary,
    StepAttempts,
    StepTrace,
    TokenBreakdown,
    Trace,
)
from noukai_sdk._models.lenient import Lenient
from noukai_sdk.testing import Exchange

RESULT = {"status": "completed", "result": 1, "flowId": "F", "blockCount": 2, "executionId": "E"}
PAUSED = {
    "status": "tool_calls_required",
    "executionId": "E",
    "pausedAtStep": "s",
    "toolCallMessages": [],
    "flowId": "F",
}
STEP = {"stepId": "a", "attempt": 2, "status": "completed", "tokens": {"prompt": 1, "total": 1}, "costUsd": "0.1"}
TRACE = {"flowRun": {"id": "E", "flowId": "F", "status": "completed"}, "steps": [STEP]}
WHOLE: list[tuple[type[Lenient], dict[str, Any]]] = [
    (ExecuteResult, RESULT),
    (PausedResult, PAUSED),
    (JobAccepted, {"executionId": "E", "status": "started", "flowId": "F", "blockCount": 1}),
    (JobStatus, {"executionId": "E", "status": "failed", "error": "why"}),
    (RunSummary, {"id": "E", "flowId": "F", "status": "completed", "durationMs": 3}),
    (StepTrace, STEP),
    (StepAttempts, {"stepId": "a", "attempts": [STEP]}),
    (Trace, TRACE),
]


@pytest.mark.parametrize(
    ("model", "payload", "field", "value"),
    [
        (ExecuteResult, {**RESULT, "blockCount": "many"}, "block_count", "many"),
        (ExecuteResult, {**RESULT, "blockCount": None}, "block_count", 0),
        (ExecuteResult, {"status": "cancelled", "flowId": "F"}, "status", "cancelled"),
        (ExecuteResult, {**RESULT, "flowId": 7}, "flow_id", "7"),
        (ExecuteResult, {**RESULT, "executionId": ["E"]}, "execution_id", ["E"]),
        (PausedResult, {**PAUSED, "accumulatedOutputs": None}, "accumulated_outputs", {}),
        (PausedResult, {**PAUSED, "accumulatedOutputs": [1]}, "accumulated_outputs", [1]),
        (PausedResult, {**PAUSED, "toolCalls": None}, "tool_calls", []),
        (PausedResult, {**PAUSED, "toolCalls": ["x"]}, "tool_calls", ["x"]),
        (PausedResult, PAUSED, "iterations_used", 0),
        (JobStatus, {"status": "failed", "error": {"code": "C"}}, "error", {"code": "C"}),
        (JobStatus, {"status": "queued"}, "status", "queued"),
        (JobAccepted, {"executionId": "E"}, "status", ""),
        (StepTrace, {**STEP, "costUsd": 0.25}, "cost_usd", "0.25"),
        (StepTrace, {**STEP, "durationMs": 12.5}, "duration_ms", 12.5),
        (StepTrace, {**STEP, "durationMs": "long"}, "duration_ms", "long"),
        (StepTrace, {**STEP, "status": "waiting"}, "status", "waiting"),
        (StepTrace, {**STEP, "attempt": None}, "attempt", 1),
        (StepTrace, {**STEP, "truncated": "perhaps"}, "truncated", "perhaps"),
        (StepTrace, {**STEP, "outputContext": "text"}, "output_context", "text"),
        (StepTrace, {**STEP, "tokens": {"prompt": "few"}}, "tokens", {"prompt": "few"}),
        (StepTrace, {**STEP, "tokens": {"total": None}}, "tokens", TokenBreakdown()),
    ],
)
def test_odd_values_are_kept(model: type[Lenient], payload: dict[str, Any], field: str, value: Any) -> None:
    made = model.from_wire(payload)
    assert getattr(made, field) == value
    assert made.raw is payload
    again = model.model_validate_json(made.model_dump_json())  # any warning is an error
    assert (again, getattr(again, field)) == (made, value)


@pytest.mark.parametrize(("model", "payload"), WHOLE)
def test_unknown_members_are_kept(model: type[Lenient], payload: dict[str, Any]) -> None:
    made = model.from_wire({**payload, "novel": {"x": [1]}})
    assert made.model_extra == {"novel": {"x": [1]}}
    assert made.model_dump(by_alias=True)["novel"] == {"x": [1]}


@pytest.mark.parametrize(("model", "payload"), WHOLE)
def test_what_came_survives_copies_and_pickle_and_is_no_part_of_equality(
    model: type[Lenient], payload: dict[str, Any]
) -> None:
    made = model.from_wire(payload)
    for twin in (copy.copy(made), copy.deepcopy(made), made.model_copy(), pickle.loads(pickle.dumps(made))):
        assert (twin, twin.raw) == (made, payload)
    by_hand = model.model_validate(payload)
    assert by_hand.raw is None
    assert by_hand == made
    assert made == by_hand
    assert "raw" not in made.model_dump()
    assert "raw" not in repr(made)


@pytest.mark.parametrize(("model", "payload"), WHOLE)
def test_objects_are_made_by_name_or_by_wire_name(model: type[Lenient], payload: dict[str, Any]) -> None:
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    assert model(**{names[key]: value for key, value in payload.items()}) == model(**payload)


@pytest.mark.parametrize(
    ("model", "payload"),
    [
        (ExecuteResult, {"status": "completed"}),
        (ExecuteResult, {"flowId": "F"}),
        (ExecuteResult, {"status": None, "flowId": "F"}),
        (ExecuteResult, {"status": ["completed"], "flowId": "F"}),
        (PausedResult, {**PAUSED, "executionId": None}),
        (PausedResult, {**PAUSED, "toolCallMessages": None}),
        (PausedResult, {**PAUSED, "toolCallMessages": ["x"]}),
        (JobAccepted, {"status": "started"}),
        (JobAccepted, {"executionId": ""}),
        (JobStatus, {"executionId": "E"}),
        (Trace, {"flowRun": {}}),
        (Trace, {"flowRun": "E", "steps": []}),
        (Trace, {"flowRun": {}, "steps": None}),
        (StepAttempts, {"stepId": "a"}),
    ],
)
def test_what_makes_an_object_must_be_there(model: type[Lenient], payload: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model.from_wire(payload)


def test_parts_of_a_trace_are_lenient_too() -> None:
    payload = json.loads(json.dumps({**TRACE, "steps": [STEP, {"attempt": "second", "novel": 1}]}))
    trace = Trace.from_wire(payload)
    assert (trace.steps[0].step_id, trace.steps[0].attempt) == ("a", 2)
    assert trace.steps[0].tokens == TokenBreakdown(prompt=1, total=1)
    assert (trace.steps[1].step_id, trace.steps[1].attempt) == ("", "second")
    assert trace.steps[1].raw is payload["steps"][1]
    assert trace.flow_run.raw is payload["flowRun"]


def test_a_result_with_not_a_number_in_it_is_a_result(side: Any) -> None:
    body = b'{"status":"completed","flowId":"F","blockCount":1,"result":[NaN,1]}'
    result, _ = side.execute([Exchange(chunks=[body])])
    assert result.output == [None, 1]


def test_results_hold_what_came(side: Any) -> None:
    result, _ = side.execute([Exchange.json({**RESULT, "novel": 1})])
    assert result.raw == {**RESULT, "novel": 1}
