"""Sessions as a caller sees them: what was run in one, and what came of it (WIRE.md 5.5)."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from noukai_sdk import (
    APIConnectionError,
    APIResponseError,
    AuthenticationError,
    ExecuteResult,
    FlowExecutionError,
    FlowNotFoundError,
    NoukaiError,
    PermissionDeniedError,
    RecordedRun,
    ReplaySessionExpiredError,
    ReplaySessionNotFoundError,
    ResultNotRecordedError,
    SessionExpiredError,
    SessionNotFoundError,
    SessionRecord,
)
from noukai_sdk.testing import Exchange, ScriptedTransport
from tests.support.recordings import SESSION, run, session, step

DONE = run("E", "execute", step("a", 1), step("b", {"x": 2, "__rendered_prompt__": "p"}))


def reading(side: Any, *exchanges: Exchange, **options: Any) -> tuple[SessionRecord, ScriptedTransport]:
    transport = ScriptedTransport(list(exchanges))
    record: SessionRecord = side.get(side.client(transport, **options).session(SESSION).read())
    return record, transport


def failure(side: Any, exchange: Exchange) -> NoukaiError:
    with pytest.raises(NoukaiError) as caught:
        reading(side, exchange)
    return caught.value


def result(**fields: Any) -> ExecuteResult:
    return RecordedRun({**DONE, **fields}).result()


def untold(**fields: Any) -> str | None:
    with pytest.raises(ResultNotRecordedError) as caught:
        result(**fields)
    assert caught.value.execution_id == "E"
    return caught.value.code


def test_a_session_tells_its_runs(side: Any) -> None:
    times = {"startedAt": "2026-11-22T06:00:00Z", "completedAt": "2026-11-22T06:00:01Z"}
    waiting = run("W", "job", status="running", steps=None, slug=None, flowId=None, extra=1)
    record, transport = reading(side, session({**DONE, **times}, waiting))
    assert record.session_id == SESSION
    done, going_on = record.executions
    assert (done.execution_id, done.flow_id, done.slug, done.trigger) == ("E", "F", "two-step", "execute")
    assert (done.status, done.finished, done.failed, done.error) == ("completed", True, False, None)
    assert (done.started_at, done.completed_at) == (times["startedAt"], times["completedAt"])
    assert [(each.step_id, each.status, each.output) for each in done.steps] == [
        ("a", "completed", 1),
        ("b", "completed", {"x": 2}),
    ]
    assert (going_on.execution_id, going_on.flow_id, going_on.slug, going_on.trigger) == ("W", "", None, "job")
    assert (going_on.status, going_on.finished, going_on.failed, going_on.completed_at) == (
        "running",
        False,
        False,
        None,
    )
    assert going_on.raw["extra"] == 1
    (request,) = transport.requests
    assert (request.method, request.url.path) == ("GET", f"/api/v1/seq/sessions/{SESSION}")
    assert "x-session-id" not in request.headers
    assert pickle.loads(pickle.dumps(record)) == record


def test_reading_is_repeated_where_that_is_safe_and_takes_a_timeout(side: Any) -> None:
    record, transport = reading(
        side, Exchange.json({}, 429, {"Retry-After": "0"}), session(), max_retries=1, session_id=SESSION
    )
    assert record.executions == []
    assert len(transport.requests) == 2
    transport = ScriptedTransport([session()])
    client = side.client(transport)
    side.get(client.session(SESSION).read(timeout=7))
    assert transport.requests[0].extensions["timeout"]["read"] == 7
    with pytest.raises(ValueError, match="timeout"):
        side.get(client.session(SESSION).read(timeout=-1))


@pytest.mark.parametrize("wrong", ["", "x", "../x", SESSION + "/", SESSION.replace("-", ""), None, 5])
def test_what_names_no_session_is_refused_at_once(side: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="UUID"):
        side.client(ScriptedTransport([])).session(wrong)
    assert SESSION in repr(side.client(ScriptedTransport([])).session(SESSION))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FlowExecutionError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, SessionNotFoundError),
        (410, SessionExpiredError),
        (500, FlowExecutionError),
    ],
)
def test_what_the_service_says_instead(side: Any, status: int, kind: type[NoukaiError]) -> None:
    body = {"detail": {"code": "SOME_CODE", "message": "words"}}
    error = failure(side, Exchange.json(body, status, {"X-Request-ID": "R"}))
    assert type(error) is kind
    assert (error.status_code, error.code, error.message, error.request_id) == (status, "SOME_CODE", "words", "R")
    assert error.response_body == body


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"detail": "Not Found"}', b'{"detail": {"message": "no"}}'])
def test_a_404_of_somebody_else_is_no_proof_that_nothing_was_run(side: Any, body: bytes) -> None:
    error = failure(side, Exchange(404, chunks=[body]))
    assert type(error) is FlowNotFoundError
    assert not isinstance(error, SessionNotFoundError)


@pytest.mark.parametrize("body", ["{}", '{"sessionId": "s"}', '{"executions": {}}', '{"executions": [1]}', "[]", "<"])
def test_an_odd_answer_is_not_an_empty_session(side: Any, body: str) -> None:
    assert type(failure(side, Exchange(200, chunks=[body.encode()]))) is APIResponseError


def test_no_answer_is_not_an_empty_session(side: Any) -> None:
    assert type(failure(side, Exchange(chunks=[b'{"executions": [', ConnectionResetError()]))) is APIConnectionError


def test_those_who_play_sessions_back_may_catch_the_same(side: Any) -> None:
    assert issubclass(ReplaySessionNotFoundError, SessionNotFoundError)
    assert issubclass(ReplaySessionExpiredError, SessionExpiredError)


def test_the_result_is_that_of_the_call(side: Any) -> None:
    told = result()
    assert (told.status, told.output, told.flow_id, told.block_count, told.execution_id) == (
        "completed",
        {"x": 2},
        "F",
        2,
        "E",
    )
    assert result(steps=[step("a", None)]).output is None
    assert result(steps=[step("a", 1), step("b", 2, status="skipped")]).output == 1
    assert result(triggerType="step").output == {"x": 2}


def test_a_failed_run_is_a_result_too() -> None:
    failed = step("b", None, status="failed", errorSnapshot={"code": "C", "message": "no luck"})
    for fields in ({"status": "failed"}, {"status": "failed", "snapshotsAvailable": False}, {"errorAtStep": "b"}):
        told = result(steps=[step("a", 1), failed], **fields)
        assert (told.status, told.output) == ("failed", "no luck")
        with pytest.raises(FlowExecutionError, match="no luck"):
            told.raise_for_status()
    record = RecordedRun({**DONE, "status": "failed", "steps": [failed]})
    assert (record.finished, record.failed, record.error) == (True, True, {"code": "C", "message": "no luck"})
    assert result(status="failed", steps=None).output is None
    assert result(status="cancelled").status == "cancelled"


def test_what_the_record_cannot_tell_is_said() -> None:
    assert untold(snapshotsAvailable=False) == "NO_SNAPSHOTS"
    assert untold(steps=[step("a", 1), step("b", 2, truncated=True)]) == "OUTPUT_TRUNCATED"
    assert result(steps=[step("a", 1, truncated=True), step("b", 2)]).output == 2
    assert untold(steps=[]) == untold(steps=None) == untold(steps="odd") == "NO_OUTPUT"
    assert untold(steps=[{"stepId": "a", "status": "completed"}]) == "NO_OUTPUT"
    assert untold(steps=[step("a", 1, loopIndex=0), step("a", 2, loopIndex=1)]) == "NO_OUTPUT"
    for status in ("pending", "running", "paused", "queued", None, 5, {}, ""):
        assert untold(status=status) == "RUN_NOT_FINISHED"
        assert RecordedRun({**DONE, "status": status}).finished is False
