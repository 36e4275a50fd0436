"""One attempt at a paid call: what it asks, what it sends, and what is remembered of it for the next one (law 6)."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from noukai_sdk.testing import Exchange, ScriptedTransport
from noukai_worker import tools
from noukai_worker.runs import outcome
from noukai_worker.stream import LeaseLost
from noukai_worker.tasks.call import Stopped

from .stage import Stage, code, session

SESSION = "/api/v1/seq/sessions/"
CALLS = [{"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
PAUSE = Exchange.json(
    {
        "status": "tool_calls_required", "executionId": "E", "pausedAtStep": "s1", "iterationsUsed": 1,
        "toolCallMessages": [], "toolCalls": CALLS, "accumulatedOutputs": {}, "flowId": "F", "blockCount": 1,
    }
)  # fmt: skip


def test_the_first_attempt_asks_nothing(stage: Stage) -> None:
    stage.enqueue()
    assert stage.attempt(Exchange.completed("done")) == outcome.Completed("done", "E")


def test_after_a_lost_worker_the_service_is_asked_before_anything_else(stage: Stage) -> None:
    stage.enqueue()
    stage.take()
    stage.lose_worker()
    assert stage.attempt(session("completed")) == outcome.Completed("found", "e0")
    assert stage.paths[0].startswith(SESSION)


@pytest.mark.parametrize("policy", ["retry", "fail"])
def test_a_session_of_the_enqueuers_need_not_be_one_that_can_be_asked_for(stage: Stage, policy: Any) -> None:
    """The service keeps sessions that are named by a UUID; the SDK refuses to ask for others."""
    stage.enqueue(session_id="shop-5", on_unknown_outcome=policy)
    stage.take()
    stage.lose_worker()
    if policy == "retry":
        assert stage.attempt(Exchange.completed("again")) == outcome.Completed("again", "E")
    else:
        assert code(stage.attempt()) == "outcome_unknown"


def test_a_call_that_ran_over_its_time_is_asked_after_when_the_run_is_redriven(stage: Stage) -> None:
    stage.enqueue()
    assert code(stage.attempt(Exchange(error=SoftTimeLimitExceeded()))) == "time_limit"
    stage.redrive()
    assert stage.attempt(session("completed")) == outcome.Completed("found", "e0")


def test_an_error_of_ours_is_not_proof_that_nothing_was_paid(stage: Stage) -> None:
    stage.enqueue()
    assert code(stage.attempt(Exchange(error=KeyError("bug")))) == "internal_error"
    stage.redrive()
    assert stage.attempt(session("completed")) == outcome.Completed("found", "e0")


def test_a_result_that_is_not_to_be_had_is_not_paid_for_again_by_redriving_the_run(stage: Stage) -> None:
    stage.enqueue()
    stage.take()
    stage.lose_worker()
    lost = Exchange.json(
        {"sessionId": "s", "executions": [{"executionId": "e", "status": "completed", "snapshotsAvailable": False}]}
    )
    assert code(stage.attempt(lost)) == "result_unavailable"
    stage.redrive()
    assert stage.attempt(session("completed")) == outcome.Completed("found", "e0")


def test_a_refusal_is_proof(stage: Stage) -> None:
    stage.enqueue()
    assert code(stage.attempt(Exchange.refusal(402, "CREDITS_EXHAUSTED"))) == "CREDITS_EXHAUSTED"
    stage.redrive()
    assert stage.attempt(Exchange.completed("paid")) == outcome.Completed("paid", "E")


@pytest.mark.parametrize("status", [500, 502, 504, 520, 524])
def test_an_answer_that_says_nothing_is_asked_about(stage: Stage, status: int) -> None:
    """524 is how a proxy says that a call took too long: it goes on behind it."""
    stage.enqueue()
    assert isinstance(stage.attempt(Exchange.json({}, status)), outcome.Retrying)
    stage.lose_worker()
    assert stage.attempt(session("completed")) == outcome.Completed("found", "e0")


def test_what_is_under_way_counts_before_what_failed_beside_it(stage: Stage) -> None:
    stage.enqueue()
    stage.take()
    stage.lose_worker()
    assert stage.attempt(session("running", "failed"), session("completed", "failed")) == outcome.Completed(
        "found", "e0"
    )


def test_a_worker_that_dies_over_its_tools_loses_no_run(stage: Stage) -> None:
    """The flow waits at the service, and what it waits for is known: no question is left open."""
    stage.enqueue(session_id="shop-5")

    tools.register("weather")(stage.lose_worker)
    call, held = stage.take(PAUSE)
    with pytest.raises(LeaseLost):
        call.make(held)
    tools._functions["weather"] = lambda: "rain"
    assert isinstance(stage.attempt(Exchange.refusal(429, "BUSY")), outcome.Retrying)
    stage.lose_worker()
    assert stage.attempt(Exchange.completed("wet")) == outcome.Completed("wet", "E")
    assert stage.script.bodies[0]["toolCallMessages"] == [{"role": "tool", "toolCallId": "t1", "content": "rain"}]


def test_a_pause_that_nobody_here_can_answer_any_more_becomes_one_for_people(stage: Stage) -> None:
    stage.enqueue()

    tools.register("weather")(stage.lose_worker)
    call, held = stage.take(PAUSE)
    with pytest.raises(LeaseLost):
        call.make(held)
    tools._functions.clear()
    end = stage.attempt()
    assert isinstance(end, outcome.Paused)
    assert end.continuation["tool_calls"] == CALLS


def test_answers_that_may_have_arrived_are_sent_again_if_the_flow_still_waits(stage: Stage) -> None:
    stage.enqueue()
    tools.register("weather")(lambda: "rain")
    assert isinstance(stage.attempt(PAUSE, Exchange.failing("reset")), outcome.Retrying)
    stage.lose_worker()
    assert stage.attempt(session("tool_calls_required"), Exchange.completed("wet")) == outcome.Completed("wet", "E")


def test_an_answer_that_is_refused_the_second_time_may_have_been_taken_the_first_time(stage: Stage) -> None:
    """The session lags behind: it says that the flow waits, and the flow goes on."""
    stage.enqueue()
    tools.register("weather")(lambda: "rain")
    stage.attempt(PAUSE, Exchange.failing("reset"))
    stage.lose_worker()
    assert code(stage.attempt(session("tool_calls_required"), Exchange.refusal(409, "NOT_PAUSED"))) == "NOT_PAUSED"
    stage.redrive()
    assert stage.attempt(session("completed")) == outcome.Completed("found", "e0")


def test_beyond_the_last_attempt_nothing_is_sent_and_nothing_is_lost(stage: Stage) -> None:
    stage.enqueue(max_attempts=1)
    tools.register("weather")(lambda: "rain")
    stage.attempt(PAUSE, Exchange.failing("reset"))
    stage.lose_worker()
    assert code(stage.attempt(session("tool_calls_required"))) == "attempts_exhausted"
    stage.redrive()
    assert stage.attempt(session("tool_calls_required"), Exchange.completed("wet")) == outcome.Completed("wet", "E")


def test_a_flow_that_asks_without_end_goes_on_where_it_was_when_it_is_redriven(stage: Stage) -> None:
    stage.enqueue()
    tools.register("weather")(lambda: "rain")
    assert code(stage.attempt(PAUSE, PAUSE, PAUSE)) == "tool_rounds_exhausted"
    stage.redrive()
    assert stage.attempt(Exchange.completed("wet")) == outcome.Completed("wet", "E")
    assert stage.script.bodies[0]["executionId"] == "E"


def test_a_new_life_does_not_begin_with_an_answer_of_the_old_one(stage: Stage) -> None:
    stage.enqueue()
    tools.register("weather")(lambda: "rain")
    failed = Exchange.json({"status": "failed", "result": "boom", "flowId": "F", "blockCount": 1, "executionId": "E"})
    assert code(stage.attempt(PAUSE, failed)) == "FLOW_FAILED"
    stage.redrive()
    assert stage.attempt(Exchange.completed("anew")) == outcome.Completed("anew", "E")
    assert "executionId" not in stage.script.bodies[0]


@pytest.mark.parametrize("first", [True, False])
def test_a_call_that_is_stopped_before_it_was_sent_is_settled(stage: Stage, first: bool) -> None:
    stage.enqueue()
    if not first:
        stage.take()
        stage.lose_worker()
    call, held = stage.take()
    call.stop()
    with pytest.raises(Stopped) as stopped:
        call.make(held)
    assert stopped.value.settled is first, "what an earlier attempt has left open stays open"


def test_a_stop_does_not_cut_off_the_calls_that_a_tool_makes_for_itself(stage: Stage) -> None:
    """Their failure would be stored as the answer, and told to the flow by the next worker."""
    stage.enqueue()
    other = ScriptedTransport([Exchange.completed("rain")])
    call, held = stage.take(PAUSE)

    @tools.register("weather")
    def weather() -> Any:
        call.stop()
        with other.client() as client:
            return client.flow("acme/demo/weather").execute("now").output

    with pytest.raises(Stopped) as stopped:
        call.make(held)
    assert stopped.value.settled
    held.close(outcome.GivenBack(), pickup=10)
    assert stage.attempt(Exchange.completed("wet")) == outcome.Completed("wet", "E")
    assert stage.script.bodies[0]["toolCallMessages"][-1]["content"] == "rain"
