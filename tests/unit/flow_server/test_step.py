"""``/step``: the transcripts of WIRE.md 4.6, resumption, streamed output."""

from __future__ import annotations

import re
from typing import Any

import pytest

from noukai_worker.dev.flow_server import events


def names(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in events]


def test_one_step_per_call(caller: Any) -> None:
    first = caller.events("acme/demo/two-step", stepIndex=0, accumulatedOutputs={}, message="hi")
    assert names(first) == ["run_started", "step_started", "step_completed", "step_paused"]
    started, completed, paused = first[0][1], first[2][1], first[3][1]
    execution_id = started["executionId"]
    assert started["stepCount"] == 2
    assert first[1][1] == {"stepId": "step-a", "name": "A", "stepIndex": 0}
    assert completed["output"] == {"text": "a: hi"}
    assert isinstance(completed["durationMs"], int)
    assert completed["tokens"]["total"] == completed["tokens"]["prompt"] + completed["tokens"]["completion"] > 0
    assert re.fullmatch(r"\d+\.\d+", completed["costUsd"])
    assert paused == {"executionId": execution_id, "stepIndex": 0, "nextStepIndex": 1}

    second = caller.events(
        "acme/demo/two-step", executionId=execution_id, stepIndex=1, accumulatedOutputs={"step-a": {"text": "a: hi"}}
    )
    assert names(second) == ["step_started", "step_completed", "flow_completed"]
    assert second[0][1]["stepIndex"] == 0
    assert second[2][1] == {"executionId": execution_id, "result": second[1][1]["output"]}


def test_run_remaining_goes_to_the_end(caller: Any) -> None:
    events = caller.events("acme/demo/two-step", message="hi", runRemaining=True)
    assert names(events) == ["run_started", *["step_started", "step_completed"] * 2, "flow_completed"]
    assert [data["stepIndex"] for name, data in events if name == "step_started"] == [0, 1]
    assert events[-1][1]["result"] == {"text": "b: a: hi"}


def test_the_caller_s_outputs_are_the_truth_on_resumption(caller: Any) -> None:
    execution_id = caller.events("acme/demo/two-step", message="hi")[0][1]["executionId"]
    events = caller.events(
        "acme/demo/two-step",
        executionId=execution_id,
        stepIndex=1,
        accumulatedOutputs={"step-a": {"text": "mine"}},
        runRemaining=True,
    )
    assert events[-1][1]["result"] == {"text": "b: mine"}


def test_input_overrides_replace_earlier_outputs(caller: Any) -> None:
    execution_id = caller.events("acme/demo/two-step", message="hi")[0][1]["executionId"]
    events = caller.events(
        "acme/demo/two-step",
        executionId=execution_id,
        stepIndex=1,
        accumulatedOutputs={"step-a": {"text": "a"}},
        inputOverrides={"step-a": {"text": "override"}},
    )
    assert events[-1][1]["result"] == {"text": "b: override"}


def test_a_run_can_start_over_at_its_first_step_without_its_message(caller: Any) -> None:
    execution_id = caller.events("acme/demo/two-step", message="hi")[0][1]["executionId"]
    events = caller.events("acme/demo/two-step", executionId=execution_id, stepIndex=0, runRemaining=True)
    assert "run_started" not in names(events)
    assert events[-1][1]["result"] == {"text": "b: a: hi"}
    assert caller.counts()["runs"][execution_id]["steps"]["step-a"]["started"] == 2


def test_streamed_pieces_join_to_the_output(caller: Any) -> None:
    events = caller.events("acme/spelling/grade-3", message="Łódź,  tab\there", runRemaining=True)
    for step_id in ("pick-words", "write-exercise"):
        pieces = [data["outputData"] for name, data in events if name == "step_output" and data["stepId"] == step_id]
        (output,) = [data["output"] for name, data in events if name == "step_completed" and data["stepId"] == step_id]
        assert len(pieces) > 3
        assert "".join(pieces) == output
    assert "Łódź,  tab\there" in events[-1][1]["result"]


def test_step_input_shows_the_prompt(caller: Any) -> None:
    events = caller.events("acme/spelling/grade-3", message="owls")
    assert events[2][0] == "step_input"
    assert events[2][1]["inputData"]["prompt"].endswith("spell from: owls")


def test_a_failing_step_ends_the_stream_and_can_be_tried_again(caller: Any) -> None:
    events = caller.events("acme/test/flaky", message="hi", runRemaining=True)
    assert events[-1] == (
        "step_error",
        {"stepId": "second", "name": "second", "error": {"code": "MODEL_OVERLOADED", "message": "Busy."}},
    )
    execution_id = events[0][1]["executionId"]
    assert caller.counts()["runs"][execution_id]["status"] == "failed"
    again = caller.events(
        "acme/test/flaky", executionId=execution_id, stepIndex=1, accumulatedOutputs={"first": "hi"}, runRemaining=True
    )
    assert again[-1] == ("flow_completed", {"executionId": execution_id, "result": "second: hi"})


@pytest.mark.parametrize("size", [100, 180, 2000])
def test_load_frames_have_the_size_asked_for(caller: Any, size: int) -> None:
    answer = caller.step(
        "acme/demo/load", parameters={"steps": 2, "events": 12, "bytes": size, "interval": 0.0}, runRemaining=True
    )
    data = [frame.split("\ndata: ")[1] for frame in answer.text.split("\n\n") if "step_output" in frame]
    assert len(data) == 24
    assert {len(line) for line in data} == {size}


def test_the_head_and_each_frame_arrive_before_the_end(caller: Any) -> None:
    caller.order({"manner": {"stall_after_events": 2, "seconds": 600}})
    url = caller.url("acme/demo/two-step", "step")
    with caller.http.stream("POST", url, json={"message": "hi"}) as answer:
        text = ""
        for piece in answer.iter_text():
            text += piece
            if text.count("\n\n") == 2:
                break
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert "step_started" in text


def test_a_long_silence_is_filled_with_comments(caller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_EVERY", 0.01)
    with caller.http.stream("POST", caller.url("acme/test/slow", "step"), json={"message": "x"}) as answer:
        text = ""
        for piece in answer.iter_text():
            text += piece
            if text.count(": ping\n\n") == 3:
                break
    assert text.split("\n\n")[2:5] == [": ping"] * 3
