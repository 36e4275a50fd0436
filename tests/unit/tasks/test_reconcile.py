"""What a session says about a paid call that was cut off, and what follows for the run."""

from __future__ import annotations

from typing import Any

import pytest

import noukai_sdk
from noukai_worker.runs import Checkpoint, Failure, Lease, RunRequest, outcome
from noukai_worker.runs.answers import Claimed
from noukai_worker.tasks.execute import execute_flow
from noukai_worker.tasks.reconcile import (
    Absent,
    Answer,
    Broken,
    Finding,
    Finished,
    UnderWay,
    Untold,
    Waiting,
    conclude,
    inquire,
    read,
    session_of,
)


def claimed(attempts: int = 2, life: int = 0, **fields: Any) -> Claimed:
    request = RunRequest.build(flow="acme/demo/x", mode="execute", max_attempts=3, **fields)
    return Claimed(Lease("r", attempts, 5), request, Checkpoint(), attempts, "{}", True, life, None)


def execution(status: str, *outputs: Any, **fields: Any) -> noukai_sdk.RecordedRun:
    steps = [{"stepId": f"s{n}", "status": "completed", "outputSnapshot": output} for n, output in enumerate(outputs)]
    return noukai_sdk.RecordedRun(
        {"executionId": "e", "status": status, "snapshotsAvailable": True, "steps": steps, **fields}
    )


def answered(status: int) -> noukai_sdk.NoukaiError:
    return noukai_sdk.NoukaiError("said so", status_code=status)


def nothing_known() -> noukai_sdk.NoukaiError:
    return noukai_sdk.SessionNotFoundError("no such session", status_code=404, code="SESSION_NOT_FOUND")


def found(*answers: tuple[float, Answer], patience: float = 0, **fields: Any) -> tuple[Finding, list[float]]:
    """What is found from answers at these times, and the pauses before the questions."""
    inquiry = inquire(claimed(**fields), 0.0, patience=patience)
    pauses = []
    try:
        pauses.append(next(inquiry))
        for at, answer in answers:
            pauses.append(inquiry.send((answer, at)))
    except StopIteration as stop:
        return stop.value, pauses
    raise AssertionError("still asking")


def test_what_has_come_to_a_result_is_taken() -> None:
    assert read([execution("completed", 1, {"a": 2})]) == Finished({"a": 2}, "e")


def test_a_result_counts_before_failures_around_it() -> None:
    assert read([execution("failed"), execution("completed", 1), execution("failed")]) == Finished(1, "e")


def test_what_failed_at_the_service_has_failed() -> None:
    steps = [{"stepId": "s1", "status": "failed", "errorSnapshot": {"code": "STEP_BOOM", "message": "no"}}]
    assert read([execution("failed", errorAtStep="s1", steps=steps)]) == Broken(Failure("STEP_BOOM", "no"))
    assert read([execution("cancelled", 1)]) == Broken(Failure("FLOW_FAILED", "execution e is cancelled"))


@pytest.mark.parametrize(
    "run",
    [
        execution("completed", 1, snapshotsAvailable=False),
        execution(
            "completed", steps=[{"stepId": "s", "status": "completed", "outputSnapshot": "…", "truncated": True}]
        ),
    ],
)
def test_a_result_that_was_not_recorded_is_never_paid_for_again(run: noukai_sdk.RecordedRun) -> None:
    finding = read([run])
    assert isinstance(finding, Broken)
    assert finding.failure.code == "result_unavailable"


def test_what_goes_on_or_waits_is_told_apart() -> None:
    assert read([execution("running", 1)]) == UnderWay("e")
    assert read([execution("tool_calls_required", 1)]) == Waiting()
    assert read([]) == Absent()


def test_a_call_may_still_be_on_its_way() -> None:
    finding, pauses = found((0.1, nothing_known()), (1.1, []), (4.9, nothing_known()), (5.1, nothing_known()))
    assert finding == Absent()
    assert pauses == [0.0, 0.1, 1.0, 1.0]
    assert found((0.1, nothing_known()), (1.1, [execution("completed", 1)]))[0] == Finished(1, "e")


def test_what_is_under_way_is_waited_for() -> None:
    running, done = [execution("running")], [execution("completed", 7)]
    assert found((0.1, running), (99.0, running), (100.0, done), patience=200)[0] == Finished(7, "e")
    assert found((0.1, running), (201.0, running), patience=200)[0] == UnderWay("e")
    assert found((0.1, running))[0] == UnderWay("e")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 501])
def test_a_service_that_cannot_tell_says_so(status: int) -> None:
    assert isinstance(found((0.0, answered(status)))[0], Untold)


@pytest.mark.parametrize("status", [429, 500, 503, None])
def test_what_will_pass_is_asked_again_by_the_next_attempt(status: int | None) -> None:
    inquiry = inquire(claimed(), 0.0, patience=0)
    next(inquiry)
    error = noukai_sdk.NoukaiError("busy", status_code=status)
    with pytest.raises(noukai_sdk.NoukaiError, match="busy"):
        inquiry.send((error, 0.1))


def test_a_session_that_others_use_tells_nothing() -> None:
    assert found(session_id="theirs") == (Untold("the run shares its session with others"), [])


def test_each_life_of_a_run_has_a_session_of_its_own() -> None:
    sessions = {session_of(claimed()), session_of(claimed(life=1)), session_of(claimed(life=2))}
    assert len(sessions) == 3
    assert session_of(claimed()) == session_of(claimed(attempts=3))
    assert session_of(claimed(session_id="theirs")) == "theirs"


def test_what_follows() -> None:
    def follows(finding: Finding, **fields: Any) -> outcome.Outcome | None:
        return conclude(finding, execute_flow, claimed(**fields))

    assert follows(Finished(1, "e")) == outcome.Completed(1, "e")
    assert follows(Broken(Failure("a", "b"))) == outcome.Failed(Failure("a", "b"))
    assert follows(Absent()) is None
    late = follows(Absent(), attempts=4)
    assert isinstance(late, outcome.Failed)
    assert late.failure.code == "attempts_exhausted"
    for finding in (Untold("why"), Waiting()):
        unknown = follows(finding)
        assert isinstance(unknown, outcome.Failed)
        assert (unknown.failure.code, unknown.settled) == ("outcome_unknown", False)
        assert follows(finding, on_unknown_outcome="retry") is None
        assert follows(finding, on_unknown_outcome="retry", attempts=4) is not None
    still = follows(UnderWay("e"))
    assert isinstance(still, outcome.Retrying)
    assert not still.settled
