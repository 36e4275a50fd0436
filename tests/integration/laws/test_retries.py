"""What the service says decides: passing trouble is tried again, when it may be; hopeless trouble ends the run at once."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from noukai_worker import enqueue
from noukai_worker.runs import Mode, State
from tests.integration.conftest import House

pytestmark = pytest.mark.integration
FLOW = "acme/demo/two-step"
MODES: tuple[Mode, ...] = ("stream", "execute")


@pytest.mark.parametrize("mode", MODES)
def test_three_503s_then_success(house: House, mode: Mode) -> None:
    house.flow_server.order(flow=FLOW, times=3, status=503)
    house.worker(mode)
    run = enqueue(FLOW, message="hi", mode=mode)
    (view,) = house.wait(run.id)
    assert (view.state, view.attempt) == (State.COMPLETED, 4)
    retries = [entry.data for entry in house.log(run.id) if entry.type == "run.retrying"]
    assert [retry["attempt"] for retry in retries] == [1, 2, 3]
    assert len(requests(house)) == 4


@pytest.mark.parametrize("mode", MODES)
def test_retry_after_is_a_floor(house: House, mode: Mode) -> None:
    house.flow_server.order(flow=FLOW, times=1, status=429, retry_after=2)
    house.worker(mode)
    run = enqueue(FLOW, message="hi", mode=mode)
    (view,) = house.wait(run.id)
    assert view.state is State.COMPLETED
    first, second = requests(house)
    assert second - first >= 2.0
    assert [entry.data["code"] for entry in house.log(run.id) if entry.type == "run.retrying"] == ["RATE_LIMIT"]


@pytest.mark.parametrize(
    ("mode", "status", "code"),
    [(m, *c) for m, c in itertools.product(MODES, [(404, "FLOW_NOT_FOUND"), (401, "UNAUTHENTICATED")])],
)
def test_hopeless_answers_end_the_run_at_once(house: House, mode: Mode, status: int, code: str) -> None:
    house.flow_server.order(flow=FLOW, times=9, status=status, code=code)
    house.worker(mode)
    run = enqueue(FLOW, message="hi", mode=mode)
    (view,) = house.wait(run.id)
    assert view.failure
    assert (view.failure.code, view.attempt) == (code, 1)
    assert house.types(run.id) == ["run.queued", "run.started", "run.failed"]
    assert len(requests(house)) == 1


def test_a_cut_stream_goes_on_at_its_checkpoint(house: House) -> None:
    house.flow_server.order(flow="acme/spelling/grade-3", times=1, drop_after_events=12)
    house.worker("stream")
    run = enqueue("acme/spelling/grade-3", message="hi")
    (view,) = house.wait(run.id)
    assert (view.state, view.attempt) == (State.COMPLETED, 2)
    started = [entry.data["resumed_at_step"] for entry in house.log(run.id) if entry.type == "run.started"]
    assert started == [0, 1]
    completed = [entry.data["stepIndex"] for entry in house.log(run.id) if entry.type == "step_completed"]
    assert completed == [0, 1]


def test_malformed_frames_do_not_end_or_fake_a_run(house: House) -> None:
    house.flow_server.order(flow="acme/spelling/grade-3", times=1, malformed_after_events=3)
    house.worker("stream")
    run = enqueue("acme/spelling/grade-3", message="hi")
    (view,) = house.wait(run.id)
    assert view.state is State.COMPLETED


@pytest.mark.parametrize("policy", ["fail", "retry"])
def test_a_call_that_was_cut_off_in_a_session_of_others_is_the_enqueuers_to_judge(house: House, policy: Any) -> None:
    """Whose execution is whose cannot be told there."""
    house.flow_server.order(flow=FLOW, times=1, cut_after_work=True)
    house.worker("execute")
    session = "4f6a2c3e-0000-4000-8000-000000000001"
    run = enqueue(FLOW, message="hi", mode="execute", session_id=session, on_unknown_outcome=policy)
    (view,) = house.wait(run.id)
    if policy == "retry":
        assert (view.state, view.attempt) == (State.COMPLETED, 2)
        return
    assert view.failure
    assert view.failure.code == "outcome_unknown"
    assert len(requests(house)) == 1


def test_attempts_are_limited(house: House) -> None:
    house.flow_server.order(flow=FLOW, times=9, status=503, code="BILLING_UNAVAILABLE")
    house.worker("stream")
    run = enqueue(FLOW, message="hi", max_attempts=2)
    (view,) = house.wait(run.id)
    assert view.failure
    assert (view.failure.code, view.attempt) == ("BILLING_UNAVAILABLE", 2)


def requests(house: House) -> list[float]:
    """When the service was called, in seconds."""
    return [request["at"] for request in house.flow_server.counts()["requests"]]
