"""One attempt at a job: handed in once, and then asked after, by whoever holds the run (law 6)."""

from __future__ import annotations

from typing import Any

import pytest

from noukai_sdk.testing import Exchange
from noukai_worker.errors import CredentialMissing
from noukai_worker.runs import outcome
from noukai_worker.stream import LeaseLost

from .stage import Stage, code, session

MODE = "job"
ACCEPTED = Exchange.json({"executionId": "J", "status": "started", "flowId": "F", "blockCount": 1}, 202)
DONE = Exchange.json({"executionId": "J", "status": "completed", "result": "done"})
NOT_KNOWN = Exchange.refusal(404, "JOB_NOT_FOUND")


def test_a_job_is_handed_in_and_asked_after(stage: Stage) -> None:
    stage.enqueue()
    assert stage.attempt(ACCEPTED, DONE) == outcome.Completed("done", "J")


@pytest.mark.parametrize("trouble", [Exchange.refusal(401, "UNAUTHORIZED"), NOT_KNOWN], ids=["401", "404"])
def test_a_job_that_could_not_be_asked_after_is_asked_after_again_when_its_run_is_redriven(
    stage: Stage, trouble: Exchange
) -> None:
    """Nobody knows that it has ended: handing in another one would pay twice."""
    stage.enqueue(max_attempts=1)
    stage.claim()
    stage.client.hset(stage.key, "execution_id", "J")
    for _ in range(4):
        stage.lose_worker()
        end = stage.attempt(trouble)
        if isinstance(end, outcome.Failed):
            break
    assert isinstance(end, outcome.Failed)
    stage.redrive()
    assert stage.attempt(DONE) == outcome.Completed("done", "J")


def test_a_service_that_does_not_know_a_job_yet_is_asked_once_more(stage: Stage) -> None:
    """It may take 5 s (WIRE 5.2), and the worker that handed it in was drained meanwhile."""
    stage.enqueue()
    stage.claim()
    stage.client.hset(stage.key, "execution_id", "J")
    stage.lose_worker()
    assert isinstance(stage.attempt(NOT_KNOWN), outcome.Retrying)
    stage.lose_worker()
    assert stage.attempt(DONE) == outcome.Completed("done", "J")


def test_the_same_worker_gives_it_the_time(stage: Stage) -> None:
    stage.enqueue()
    assert stage.attempt(ACCEPTED, NOT_KNOWN, DONE) == outcome.Completed("done", "J")


def keyless() -> None:
    raise CredentialMissing("acme")


def test_without_its_key_a_worker_knows_nothing_of_an_earlier_call(stage: Stage) -> None:
    stage.enqueue(credential="acme")
    stage.claim()
    stage.lose_worker()
    stage.opening = keyless
    assert code(stage.attempt()) == "credential_missing"
    stage.redrive()
    stage.opening = print
    assert stage.attempt(session("completed")) == outcome.Completed("found", "e0")


@pytest.mark.parametrize("policy", ["retry", "fail"])
def test_a_session_of_the_enqueuers_need_not_be_one_that_can_be_asked_for(stage: Stage, policy: Any) -> None:
    stage.enqueue(session_id="shop-5", on_unknown_outcome=policy)
    stage.claim()
    stage.lose_worker()
    if policy == "retry":
        assert stage.attempt(ACCEPTED, DONE) == outcome.Completed("done", "J")
    else:
        assert code(stage.attempt()) == "outcome_unknown"


def test_a_job_that_failed_is_handed_in_anew_when_its_run_is_redriven(stage: Stage) -> None:
    stage.enqueue()
    failed = Exchange.json({"executionId": "J", "status": "failed", "error": "boom"})
    assert code(stage.attempt(ACCEPTED, failed)) == "FLOW_FAILED"
    stage.redrive()
    assert stage.attempt(ACCEPTED, DONE) == outcome.Completed("done", "J")


def test_a_worker_that_was_frozen_while_it_asked_hands_in_nothing(stage: Stage) -> None:
    """Another one has its run."""
    stage.enqueue(session_id="shop-5", on_unknown_outcome="retry")
    stage.claim()
    stage.lose_worker()
    stage.lease, stage.opening = 1e-9, stage.lose_worker
    with pytest.raises(LeaseLost):
        stage.attempt()
    assert stage.script.requests == []
