"""A blocking, paid call whose worker dies, stops or is cut off: the service is asked, and nothing is paid for twice (law 6)."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from noukai_worker import Run, dead, enqueue, redrive
from noukai_worker.runs import Mode, State
from tests.integration.conftest import House
from tests.support.processes import until

pytestmark = pytest.mark.integration

FLOW = "acme/test/gated"
FLOWS = """
[[flow]]
path = "acme/test/gated"

[[flow.step]]
id = "first"
output = "one"

[[flow.step]]
id = "second"
gate = "second"
output = "two: {message}"
"""


@pytest.fixture(scope="module")
def noukai_flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "flows.toml"
    path.write_text(FLOWS)
    return path


def under_way(house: House, mode: Mode = "execute", **fields: Any) -> Run:
    """A run that the service is carrying out: it stands at the gate of the second step."""
    run = enqueue(FLOW, message="m", mode=mode, **fields)
    until(lambda: house.flow_server.held("second") == 1, "the flow stands at its gate")
    return run


def started(house: House) -> dict[str, int]:
    """How often each step was begun, as the service has it."""
    steps = house.flow_server.counts()["flows"][FLOW]["steps"]
    return {step: counts["started"] for step, counts in steps.items()}


def taken_over(house: House, run: Run, attempt: int = 2) -> None:
    until(lambda: house.view(run.id).attempt == attempt, "another worker has taken over")


def completed_once(house: House, run: Run) -> None:
    (view,) = house.wait(run.id)
    assert (view.state, view.result) == (State.COMPLETED, "two: m")
    assert started(house) == {"first": 1, "second": 1}


def test_a_call_whose_worker_was_killed_is_waited_for_by_the_next(house: House) -> None:
    victim = house.worker("execute", NOUKAI_WORKER_LEASE="2")
    run = under_way(house)
    victim.kill()
    house.worker("execute", NOUKAI_WORKER_LEASE="2")
    taken_over(house, run)
    house.flow_server.release("second")
    completed_once(house, run)


def test_a_result_that_its_worker_did_not_live_to_see_is_taken(house: House) -> None:
    victim = house.worker("execute", NOUKAI_WORKER_LEASE="2")
    run = under_way(house)
    victim.suspend()
    house.flow_server.release("second")
    until(lambda: house.flow_server.counts()["flows"][FLOW]["steps"]["second"]["completed"] == 1, "it is done")
    victim.kill()
    house.worker("execute", NOUKAI_WORKER_LEASE="2")
    completed_once(house, run)


def test_a_frozen_worker_that_wakes_up_gives_its_result_to_nobody(house: House) -> None:
    frozen = house.worker("execute", NOUKAI_WORKER_LEASE="2")
    run = under_way(house)
    frozen.suspend()
    house.worker("execute", NOUKAI_WORKER_LEASE="2")
    taken_over(house, run)
    frozen.resume()
    house.flow_server.release("second")
    completed_once(house, run)
    until(lambda: "was taken from attempt 1" in frozen.output(), "the frozen worker has noticed")
    assert {entry.attempt for entry in house.log(run.id)[-2:]} == {2}


def test_a_stopping_worker_gives_its_call_back_and_the_next_one_waits_for_it(house: House) -> None:
    leaving = house.worker("execute", NOUKAI_WORKER_EXECUTE_GRACE="0.5")
    run = under_way(house)
    house.worker("execute")
    before = time.monotonic()
    assert leaving.stop(within=10) == 0
    assert time.monotonic() - before < 5
    taken_over(house, run)
    house.flow_server.release("second")
    completed_once(house, run)
    assert [entry.data["code"] for entry in house.log(run.id) if entry.type == "run.retrying"] == ["worker_draining"]


def test_a_stopping_worker_lets_a_call_end_that_is_about_to(house: House) -> None:
    leaving = house.worker("execute")
    run = under_way(house)
    leaving.send(signal.SIGTERM)
    until(lambda: "Warm shutdown" in leaving.output() or not leaving.alive, "it has heard")
    house.flow_server.release("second")
    assert leaving.stop(within=10) == 0
    completed_once(house, run)
    assert house.view(run.id).attempt == 1


def test_a_lost_answer_is_asked_for(house: House) -> None:
    house.flow_server.order(flow=FLOW, times=1, cut_after_work=True)
    house.flow_server.release("second")
    house.worker("execute")
    run = enqueue(FLOW, message="m", mode="execute")
    completed_once(house, run)
    assert house.view(run.id).attempt == 2


def test_a_call_that_did_not_arrive_is_made_again(house: House) -> None:
    house.flow_server.order(flow=FLOW, times=1, cut_before_work=True)
    house.flow_server.release("second")
    house.worker("execute")
    run = enqueue(FLOW, message="m", mode="execute")
    completed_once(house, run)
    assert house.view(run.id).attempt == 2


def test_a_last_attempt_that_was_lost_is_still_found_out_about(house: House) -> None:
    victim = house.worker("execute", NOUKAI_WORKER_LEASE="2")
    run = under_way(house, max_attempts=1)
    victim.kill()
    house.worker("execute", NOUKAI_WORKER_LEASE="2")
    taken_over(house, run)
    house.flow_server.release("second")
    completed_once(house, run)


@pytest.mark.parametrize("policy", ["fail", "retry"])
def test_where_the_service_cannot_tell_the_enqueuer_has_decided(house: House, policy: Any) -> None:
    victim = house.worker("execute", NOUKAI_WORKER_LEASE="2")
    run = under_way(house, on_unknown_outcome=policy)
    (session,) = house.flow_server.counts()["sessions"]
    victim.kill()
    httpx.delete(f"{house.flow_server.url}/_control/sessions/{session}").raise_for_status()
    house.flow_server.release("second")
    house.worker("execute", NOUKAI_WORKER_LEASE="2")
    (view,) = house.wait(run.id)
    if policy == "fail":
        assert view.failure
        assert view.failure.code == "outcome_unknown"
    else:
        assert view.state is State.COMPLETED


def test_a_redriven_run_whose_outcome_is_unknown_asks_again_first(house: House) -> None:
    house.flow_server.order(flow=FLOW, times=1, cut_after_work=True)
    house.flow_server.order(endpoint="session", times=1, status=403)
    house.flow_server.release("second")
    house.worker("execute")
    run = enqueue(FLOW, message="m", mode="execute")
    (view,) = house.wait(run.id)
    assert view.failure
    assert view.failure.code == "outcome_unknown"
    assert [one.id for one in dead()] == [run.id]
    redrive(run.id)
    completed_once(house, run)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_job_is_handed_in_once_and_asked_after_by_whoever_is_there(house: House, how: str) -> None:
    victim = house.worker("stream", NOUKAI_WORKER_LEASE="2")
    run = under_way(house, "job")
    until(lambda: "run.submitted" in house.types(run.id), "the execution id is stored")
    getattr(victim, how)()
    house.worker("stream", NOUKAI_WORKER_LEASE="2")
    taken_over(house, run)
    house.flow_server.release("second")
    completed_once(house, run)
    assert [request["endpoint"] for request in house.flow_server.counts()["requests"]] == ["jobs"]


def test_a_job_whose_receipt_was_lost_is_found_and_not_handed_in_again(house: House) -> None:
    house.flow_server.order(flow=FLOW, times=1, cut_after_work=True)
    house.flow_server.release("second")
    house.worker("stream")
    run = enqueue(FLOW, message="m", mode="job")
    completed_once(house, run)
    assert house.view(run.id).attempt == 2


def test_a_job_that_fails_at_the_service_has_failed(house: House) -> None:
    house.worker("stream")
    run = enqueue("acme/test/nowhere", message="m", mode="job")
    (view,) = house.wait(run.id)
    assert view.failure
    assert (view.failure.code, view.attempt) == ("FLOW_NOT_FOUND", 1)
