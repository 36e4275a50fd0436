"""Keys that run out of credits, before and during a run; keys of another project."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from noukai_worker.dev.flow_server import FlowServerError, create_app, pairs
from noukai_worker.dev.flow_server.__main__ import main
from tests.support.flow_server import refused

COSTLY = "acme/test/costly"
POOR = {"Authorization": "Bearer nk_poor"}


@pytest.fixture(autouse=True)
def one_cent(caller: Any) -> Iterator[None]:
    caller.control("POST", "credits", {"nk_poor": "0.01"})
    yield
    assert caller.control("GET", "credits")["credits"]["nk_broke"] == "0"


def balance(caller: Any) -> Decimal:
    return Decimal(caller.control("GET", "credits")["credits"]["nk_poor"])


def test_steps_are_charged_to_the_cent(caller: Any) -> None:
    caller.control("POST", "credits", {"nk_poor": "1"})
    caller.execute(COSTLY, message="x", headers=POOR)
    assert balance(caller) == Decimal("0.979")
    caller.step(COSTLY, message="x", runRemaining=True, headers=POOR)
    assert balance(caller) == Decimal("0.958")


def test_an_execute_ends_when_the_balance_does(caller: Any) -> None:
    assert refused(caller.execute(COSTLY, message="x", headers=POOR)) == (402, "CREDITS_EXHAUSTED")
    (run,) = caller.counts()["runs"].values()
    assert run["status"] == "failed"
    assert run["steps"].keys() == {"one"}, "the second was not begun"
    trace = caller.run(COSTLY, run["execution_id"], "trace").json()
    assert [(step["stepId"], step["status"]) for step in trace["steps"]] == [("one", "completed"), ("two", "failed")]
    assert refused(caller.execute(COSTLY, message="x", headers=POOR)) == (402, "INSUFFICIENT_CREDITS")
    assert len(caller.counts()["runs"]) == 1


def test_a_stream_that_goes_on_says_it_in_a_step_error(caller: Any, read_frames: Any) -> None:
    text = caller.step(COSTLY, message="x", runRemaining=True, headers=POOR).text
    events = read_frames(text)
    assert [name for name, _ in events] == [
        "run_started",
        "step_started",
        "step_completed",
        "step_started",
        "step_error",
    ]
    assert (events[-1][1]["stepId"], events[-1][1]["error"]["code"]) == ("two", "CREDITS_EXHAUSTED")


def test_the_next_call_of_a_stream_is_refused_until_somebody_pays(caller: Any, read_frames: Any) -> None:
    events = read_frames(caller.step(COSTLY, message="x", headers=POOR).text)
    assert events[-1][0] == "step_paused"
    again = {
        "executionId": events[0][1]["executionId"],
        "stepIndex": 1,
        "accumulatedOutputs": {"one": "x"},
        "headers": POOR,
    }
    assert refused(caller.step(COSTLY, **again)) == (402, "CREDITS_EXHAUSTED")
    caller.control("POST", "credits", {"nk_poor": "0.01"})
    assert read_frames(caller.step(COSTLY, **again).text)[-1][0] == "flow_completed"


def test_a_job_fails_with_the_reason(caller: Any) -> None:
    job = caller.http.post(caller.url(COSTLY, "jobs"), json={"message": "x"}, headers=POOR).json()["executionId"]
    caller.wait_for(lambda counts: counts["runs"][job]["status"] == "failed")
    state = caller.http.get(caller.url(COSTLY, f"jobs/{job}")).json()
    assert "balance ran out before step 'two'" in state["error"]
    answer = caller.http.post(caller.url(COSTLY, "jobs"), json={"message": "x"}, headers=POOR)
    assert refused(answer) == (402, "INSUFFICIENT_CREDITS")


def test_an_empty_balance_does_not_stop_reading(caller: Any) -> None:
    execution_id = caller.execute("acme/demo/two-step", message="x").json()["executionId"]
    headers = {"Authorization": "Bearer nk_broke"}
    url = caller.url("acme/demo/two-step", f"runs/{execution_id}/trace")
    assert caller.http.get(url, headers=headers).status_code == 200


def test_a_resume_that_cannot_be_paid_leaves_the_pause_open(caller: Any) -> None:
    path = "acme/demo/tools-enabled"
    tools = [{"type": "function", "function": {"name": "w"}}]
    pause = caller.execute(path, message="x", tools=tools, headers=POOR).json()
    caller.control("POST", "credits", {"nk_poor": "0"})
    results = [{"role": "tool", "toolCallId": pause["toolCalls"][0]["id"], "content": "sunny"}]
    resume = {
        "executionId": pause["executionId"],
        "pausedAtStep": "answer",
        "toolCallMessages": [*pause["toolCallMessages"], *results],
        "tools": tools,
        "headers": POOR,
    }
    assert refused(caller.execute(path, **resume)) == (402, "CREDITS_EXHAUSTED")
    caller.control("POST", "credits", {"nk_poor": "0.01"})
    assert caller.execute(path, **resume).json()["status"] == "completed"


@pytest.mark.parametrize("body", [{"nk_poor": "much"}, {"nk_poor": "-1"}, {"nk_poor": 1}, ["nk_poor"], {"x": "nan"}])
def test_balances_that_make_no_sense(caller: Any, body: Any) -> None:
    answer = caller.http.post(caller.server.url + "/_control/credits", json=body)
    assert refused(answer) == (400, "CREDITS_INVALID")
    assert balance(caller) == Decimal("0.01")


def test_a_key_is_good_in_its_own_project_only(caller: Any) -> None:
    bound = {"Authorization": "Bearer nk_bound"}
    assert caller.execute("acme/demo/two-step", message="x", headers=bound).status_code == 200
    path = "acme/spelling/grade-3"
    execution_id = caller.execute(path, message="x").json()["executionId"]
    assert refused(caller.execute(path, message="x", headers=bound)) == (403, "FORBIDDEN")
    assert refused(caller.step(path, message="x", headers=bound)) == (403, "FORBIDDEN")
    for what in ("trace", "trace/stream", "steps/pick-words/trace"):
        answer = caller.http.get(caller.url(path, f"runs/{execution_id}/{what}"), headers=bound)
        assert refused(answer) == (403, "FORBIDDEN")
    for method, what in (("POST", "jobs"), ("GET", "jobs/e-0")):
        answer = caller.http.request(method, caller.url(path, what), headers=bound, json={"message": "x"})
        assert refused(answer) == (403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"credits": {"nk_x": "much"}}, "no amount.*like 0.01"),
        ({"credits": {"nk_x": "-1"}}, "no amount"),
        ({"credits": {"nk_x": "inf"}}, "no amount"),
        ({"projects": {"nk_x": "acme"}}, "write org/project"),
        ({"projects": {"nk_x": "acme/demo/flow"}}, "write org/project"),
    ],
)
def test_options_that_make_no_sense(options: Any, remedy: str) -> None:
    with pytest.raises(FlowServerError, match=remedy):
        create_app(**options)


def test_options_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert pairs("--credits", ["nk_x=0.01", "nk_y=a=b"]) == {"nk_x": "0.01", "nk_y": "a=b"}
    for text in ("nk_x", "nk_x=", "=1"):
        assert main(["--port", "0", "--credits", text]) == 1
        assert capsys.readouterr().err == f"flow server: --credits {text!r}: write KEY=VALUE\n"
    assert main(["--port", "0", "--project", "nk_x=acme"]) == 1
    assert "write org/project" in capsys.readouterr().err
