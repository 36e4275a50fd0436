"""A tool pause is answered once; an answer that was lost on the way can be given again on ``/step``; rounds end."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.flow_server import refused

AGENT = "acme/demo/agent-tools"
TOOLS = [{"type": "function", "function": {"name": "get_weather"}}]
VOID = (400, "PAUSED_STEP_INVALID")
MISMATCH = (400, "TOOL_RESULTS_MISMATCH")


def answered(pause: dict[str, Any]) -> dict[str, Any]:
    results = [{"role": "tool", "toolCallId": call["id"], "content": "sunny"} for call in pause["toolCalls"]]
    return {
        "executionId": pause["executionId"],
        "iterationsUsed": pause["iterationsUsed"],
        "toolCallMessages": [*pause["toolCallMessages"], *results],
        "accumulatedOutputs": pause["accumulatedOutputs"],
        "tools": TOOLS,
    }


def resume(pause: dict[str, Any]) -> dict[str, Any]:
    return answered(pause) | {"pausedAtStep": pause["pausedAtStep"]}


def resume_step(pause: dict[str, Any]) -> dict[str, Any]:
    return answered(pause) | {"stepIndex": pause["stepIndex"], "runRemaining": True}


def steps(caller: Any, pause: dict[str, Any]) -> Any:
    return caller.counts()["runs"][pause["executionId"]]["steps"]


def test_an_execute_is_resumed_once(caller: Any) -> None:
    first = caller.execute(AGENT, message="x", tools=TOOLS).json()
    second = caller.execute(AGENT, **resume(first)).json()
    assert refused(caller.execute(AGENT, **resume(first))) == MISMATCH
    assert caller.execute(AGENT, **resume(second)).json()["status"] == "completed"
    assert refused(caller.execute(AGENT, **resume(first))) == VOID
    assert refused(caller.execute(AGENT, **resume(second))) == VOID
    assert steps(caller, first)["report"]["completed"] == 1


def test_a_stream_is_resumed_once(caller: Any) -> None:
    first = caller.events(AGENT, message="x", tools=TOOLS, runRemaining=True)[-1][1]
    second = caller.events(AGENT, **resume_step(first))[-1][1]
    assert refused(caller.step(AGENT, **resume_step(first))) == MISMATCH
    assert caller.events(AGENT, **resume_step(second))[-1][0] == "flow_completed"
    assert refused(caller.step(AGENT, **resume_step(second))) == VOID
    assert steps(caller, first)["report"]["completed"] == 1


def test_a_pause_of_a_stream_is_answered_once_on_either_endpoint(caller: Any) -> None:
    pause = caller.events("acme/demo/tools-enabled", message="x", tools=TOOLS)[-1][1]
    body = caller.execute("acme/demo/tools-enabled", **resume(pause | {"pausedAtStep": pause["stepId"]})).json()
    assert body["status"] == "completed"
    assert refused(caller.step("acme/demo/tools-enabled", **resume_step(pause))) == VOID


def test_the_lost_answer_of_an_execute_is_not_given_again(caller: Any) -> None:
    pause = caller.execute(AGENT, message="x", tools=TOOLS).json()
    caller.order({"endpoint": "execute", "manner": {"cut_after_work": True}})
    with pytest.raises(httpx.RemoteProtocolError):
        caller.execute(AGENT, **resume(pause))
    assert refused(caller.execute(AGENT, **resume(pause))) == MISMATCH


def test_a_call_that_was_cut_before_any_work_has_answered_nothing(caller: Any) -> None:
    pause = caller.execute("acme/demo/tools-enabled", message="x", tools=TOOLS).json()
    caller.order({"manner": {"cut_before_work": True}}, {"manner": {"status": 503}})
    with pytest.raises(httpx.RemoteProtocolError):
        caller.execute("acme/demo/tools-enabled", **resume(pause))
    assert caller.execute("acme/demo/tools-enabled", **resume(pause)).status_code == 503
    assert caller.execute("acme/demo/tools-enabled", **resume(pause)).json()["status"] == "completed"


# The answer to the first pause is: second pause. To the second: step_completed, step_started, step_completed, end.
@pytest.mark.parametrize("frames", range(5))
def test_a_cut_stream_takes_the_same_tool_results_again(caller: Any, frames: int) -> None:
    first = caller.events(AGENT, message="x", tools=TOOLS, runRemaining=True)[-1][1]
    second = caller.events(AGENT, **resume_step(first))[-1][1]
    caller.order({"endpoint": "step", "manner": {"drop_after_events": frames}})
    text, error = caller.until_dropped(AGENT, **resume_step(second))
    assert isinstance(error, httpx.RemoteProtocolError)
    assert text.count("\n\n") == frames
    events = caller.events(AGENT, **resume_step(second))
    assert events[-1] == ("flow_completed", {"executionId": first["executionId"], "result": "Report. x: sunny, sunny"})
    assert refused(caller.step(AGENT, **resume_step(second))) == VOID


@pytest.mark.parametrize("seen", [True, False])
def test_a_cut_behind_the_next_pause_leaves_both_open_until_one_is_answered(caller: Any, seen: bool) -> None:
    first = caller.events(AGENT, message="x", tools=TOOLS, runRemaining=True)[-1][1]
    caller.order({"endpoint": "step", "manner": {"drop_after_events": 1}})
    text, _ = caller.until_dropped(AGENT, **resume_step(first))
    assert "step_paused_for_tool_calls" in text
    second = json.loads(text.split("data: ")[1]) if seen else caller.events(AGENT, **resume_step(first))[-1][1]
    assert caller.events(AGENT, **resume_step(second))[-1][0] == "flow_completed"
    for pause in (first, second):
        assert refused(caller.step(AGENT, **resume_step(pause))) == VOID


def test_a_checkpoint_begins_the_step_anew_and_voids_its_pause(caller: Any) -> None:
    pause = caller.events(AGENT, message="x", tools=TOOLS, runRemaining=True)[-1][1]
    checkpoint = {"executionId": pause["executionId"], "stepIndex": 0, "accumulatedOutputs": {}, "tools": TOOLS}
    anew = caller.events(AGENT, **checkpoint, runRemaining=True)[-1][1]
    assert {call["id"] for call in anew["toolCalls"]}.isdisjoint(call["id"] for call in pause["toolCalls"])
    assert refused(caller.step(AGENT, **resume_step(pause))) == MISMATCH
    second = caller.events(AGENT, **resume_step(anew))[-1][1]
    assert caller.events(AGENT, **resume_step(second))[-1][0] == "flow_completed"


def test_a_checkpoint_behind_the_step_voids_what_was_left_open(caller: Any) -> None:
    first = caller.events(AGENT, message="x", tools=TOOLS, runRemaining=True)[-1][1]
    second = caller.events(AGENT, **resume_step(first))[-1][1]
    caller.order({"endpoint": "step", "manner": {"drop_after_events": 1}})
    text, _ = caller.until_dropped(AGENT, **resume_step(second))
    assert "step_completed" in text
    checkpoint = {"executionId": first["executionId"], "stepIndex": 1, "accumulatedOutputs": {"research": "r"}}
    assert caller.events(AGENT, **checkpoint)[-1][1]["result"] == "Report. r"
    assert refused(caller.step(AGENT, **resume_step(second))) == VOID
    assert steps(caller, first)["research"]["completed"] == 1


def test_a_step_that_was_cut_shows_as_abandoned_and_its_next_attempt_as_done(caller: Any) -> None:
    caller.order({"endpoint": "step", "manner": {"drop_after_events": 2}})
    text, _ = caller.until_dropped("acme/demo/two-step", message="x")
    execution_id = text.split('"executionId":"')[1].split('"')[0]

    def attempts() -> list[tuple[int, str]]:
        steps = caller.run("acme/demo/two-step", execution_id, "trace").json()["steps"]
        return [(step["attempt"], step["status"]) for step in steps]

    assert attempts() == [(1, "failed")]
    caller.events("acme/demo/two-step", executionId=execution_id, stepIndex=0)
    assert attempts() == [(1, "failed"), (2, "completed")]


ROUNDS = "acme/test/many-rounds"


def test_rounds_of_tools_are_limited_on_execute(caller: Any) -> None:
    pause = caller.execute(ROUNDS, message="x", tools=TOOLS).json()
    assert pause["iterationsUsed"] == 1
    pause = caller.execute(ROUNDS, **resume(pause)).json()
    assert pause["iterationsUsed"] == 2
    for _ in range(2):
        assert refused(caller.execute(ROUNDS, **resume(pause))) == (409, "TOOL_ITERATION_LIMIT")
    without = resume(pause) | {"toolChoice": "none"}
    assert caller.execute(ROUNDS, **without).json()["status"] == "completed"


def test_rounds_of_tools_are_limited_on_step(caller: Any) -> None:
    pause = caller.events(ROUNDS, message="x", tools=TOOLS)[-1][1]
    pause = caller.events(ROUNDS, **resume_step(pause))[-1][1]
    assert refused(caller.step(ROUNDS, **resume_step(pause))) == (409, "TOOL_ITERATION_LIMIT")


def test_tools_in_a_loop_arerefused(caller: Any) -> None:
    answer = caller.execute("acme/test/loop-tools", message="x", tools=TOOLS)
    assert refused(answer) == (400, "TOOLS_IN_NON_SEQUENTIAL_STEP")
    assert caller.execute("acme/test/loop-tools", message="x").json()["result"] == ["x", "x"]


@pytest.mark.parametrize("call", ["execute", "step"])
def test_a_repeated_resume_while_the_first_is_at_work_isrefused(caller: Any, call: str) -> None:
    path, gate = "acme/test/gated-tools", f"twice-{call}"
    caller.open_gate(gate)
    if call == "execute":
        pause = caller.execute(path, message=gate, tools=TOOLS).json()
        body = resume(pause)
    else:
        pause = caller.events(path, message=gate, tools=TOOLS)[-1][1]
        body = resume_step(pause)
    caller.control("DELETE", f"gates/{gate}")
    with caller.at_once(lambda: caller.http.post(caller.url(path, call), json=body)) as first:
        caller.wait_at_gate(gate)
        assert refused(caller.http.post(caller.url(path, call), json=body)) == VOID
        caller.open_gate(gate)
        assert first.result().status_code == 200
    assert steps(caller, pause)["ask"] == {"started": 1, "resumed": 1, "completed": 1, "failed": 0}
