"""``/seq/sessions/{uuid}``: what was run under one session, complete or not at all."""

from __future__ import annotations

import json
import socket
import uuid
from typing import Any

import pytest

from noukai_worker.dev.flow_server.answers import Refusal
from noukai_worker.dev.flow_server.sessions import Sessions
from tests.support.flow_server import a_run, refused

TWO = "acme/demo/two-step"
TOOLS = [{"type": "function", "function": {"name": "get_weather"}}]


def session(caller: Any, session_id: str, **headers: str) -> Any:
    return caller.http.get(f"{caller.server.base_url}/seq/sessions/{session_id}", headers=headers)


def executions(caller: Any, session_id: str) -> list[dict[str, Any]]:
    answer = session(caller, session_id)
    assert answer.status_code == 200, answer.text
    assert answer.json()["sessionId"] == session_id
    return list(answer.json()["executions"])


@pytest.fixture
def session_id() -> str:
    return str(uuid.uuid4())


def test_runs_of_all_kinds_in_start_order(caller: Any, session_id: str) -> None:
    headers = {"X-Session-Id": session_id}
    executed = caller.execute(TWO, message="hi", headers=headers).json()["executionId"]
    stepped = caller.step("acme/demo/hello-world", message="hi", headers=headers)
    job = caller.http.post(caller.url(TWO, "jobs"), json={"message": "hi"}, headers=headers).json()["executionId"]
    caller.execute(TWO, message="no session")
    caller.wait_for(lambda counts: counts["runs"][job]["status"] == "completed")
    records = executions(caller, session_id)
    assert [(record["slug"], record["triggerType"], record["status"]) for record in records] == [
        ("two-step", "execute", "completed"),
        ("hello-world", "step", "completed"),
        ("two-step", "job", "completed"),
    ]
    assert [records[0]["executionId"], records[2]["executionId"]] == [executed, job]
    assert records[1]["executionId"] in stepped.text
    starts = [record["startedAt"] for record in records]
    assert starts == sorted(starts)
    for record in records:
        assert record["snapshotsAvailable"] is True
        assert record["errorAtStep"] is None
        assert record["startedAt"].endswith("Z")
        assert record["completedAt"].endswith("Z")


def test_snapshots_are_the_live_outputs_and_the_prompts(caller: Any, session_id: str) -> None:
    headers = {"X-Session-Id": session_id}
    live: dict[str, Any] = {}
    result = caller.execute(TWO, message="hi", headers=headers).json()["result"]
    answer = caller.step("acme/spelling/grade-3", message="owls", runRemaining=True, headers=headers)
    for frame in answer.text.split("\n\n"):
        if frame.startswith("event: step_completed"):
            data = json.loads(frame.split("data: ")[1])
            live[data["stepId"]] = data["output"]
    two, spelling = executions(caller, session_id)
    last = dict(two["steps"][-1]["outputSnapshot"])
    assert last.pop("__rendered_prompt__") == {"text": "a: hi"}
    assert last == result
    assert {step["stepId"]: step["outputSnapshot"] for step in spelling["steps"]} == live
    assert spelling["steps"][0]["inputSnapshot"]["prompt"].endswith("spell from: owls")
    assert {step["status"] for step in spelling["steps"]} == {"completed"}


def test_several_calls_of_one_run_are_one_record(caller: Any, session_id: str) -> None:
    headers = {"X-Session-Id": session_id}
    text = caller.step(TWO, message="hi", headers=headers).text
    execution_id = text.split('"executionId":"')[1].split('"')[0]
    caller.step(TWO, executionId=execution_id, stepIndex=1, accumulatedOutputs={"step-a": {"text": "a: hi"}})
    pause = caller.execute("acme/demo/tools-enabled", message="x", tools=TOOLS, headers=headers).json()
    results = [{"role": "tool", "toolCallId": call["id"], "content": "sunny"} for call in pause["toolCalls"]]
    # As the published client does, without X-Session-Id.
    caller.execute(
        "acme/demo/tools-enabled",
        executionId=pause["executionId"],
        pausedAtStep=pause["pausedAtStep"],
        toolCallMessages=[*pause["toolCallMessages"], *results],
        tools=TOOLS,
    )
    records = executions(caller, session_id)
    assert [(record["executionId"], len(record["steps"])) for record in records] == [
        (execution_id, 2),
        (pause["executionId"], 1),
    ]
    assert records[1]["steps"][0]["outputSnapshot"] == "x → sunny"


def test_a_failure_names_its_step(caller: Any, session_id: str) -> None:
    caller.execute("acme/test/unlucky", message="x", headers={"X-Session-Id": session_id})
    (record,) = executions(caller, session_id)
    assert (record["status"], record["errorAtStep"]) == ("failed", "never")
    (step,) = record["steps"]
    assert step["errorSnapshot"] == {"code": "STEP_FAILED", "message": "This step was told to fail."}
    assert (step["status"], step["outputSnapshot"]) == ("failed", None)


def test_a_step_that_was_tried_again_shows_how_it_ended(caller: Any, session_id: str) -> None:
    text = caller.step("acme/test/flaky", message="x", runRemaining=True, headers={"X-Session-Id": session_id}).text
    execution_id = text.split('"executionId":"')[1].split('"')[0]
    caller.step("acme/test/flaky", executionId=execution_id, stepIndex=1, accumulatedOutputs={"first": "x"})
    (record,) = executions(caller, session_id)
    assert (record["status"], record["errorAtStep"]) == ("completed", None)
    assert [(step["stepId"], step["attempt"], step["outputSnapshot"]) for step in record["steps"]] == [
        ("first", 1, "x"),
        ("second", 2, "second: x"),
    ]


def test_a_loop_is_one_step_with_all_its_outputs(caller: Any, session_id: str) -> None:
    result = caller.execute("acme/test/chapters", message="x", headers={"X-Session-Id": session_id}).json()["result"]
    (record,) = executions(caller, session_id)
    each, join = record["steps"]
    assert each["outputSnapshot"] == ["(Chapter 0 of x)", "(Chapter 1 of x)", "(Chapter 2 of x)"] == result["text"]
    assert join["stepId"] == "join"


def test_a_flow_without_snapshots_says_so(caller: Any, session_id: str) -> None:
    caller.execute("acme/test/no-snapshots", message="x", headers={"X-Session-Id": session_id})
    (record,) = executions(caller, session_id)
    assert record["snapshotsAvailable"] is False
    assert [(step["inputSnapshot"], step["outputSnapshot"]) for step in record["steps"]] == [(None, None)]


@pytest.mark.parametrize("wrong", ["x", "1234", "g" * 8 + "-0000-0000-0000-" + "0" * 12, "0" * 32])
def test_a_session_is_asked_for_by_uuid(caller: Any, wrong: str) -> None:
    assert refused(session(caller, wrong)) == (400, "SESSION_ID_INVALID")


def test_unknown_foreign_and_pruned_sessions(caller: Any, session_id: str) -> None:
    assert refused(session(caller, session_id)) == (404, "SESSION_NOT_FOUND")
    caller.execute(TWO, message="hi", headers={"X-Session-Id": session_id})
    assert session(caller, session_id.upper()).status_code == 200
    assert refused(session(caller, session_id, Authorization="Bearer nk_other")) == (403, "FORBIDDEN")
    assert refused(session(caller, session_id, Authorization="")) == (401, "UNAUTHENTICATED")
    caller.control("DELETE", f"sessions/{session_id}")
    assert refused(session(caller, session_id)) == (410, "SESSION_EXPIRED")
    caller.execute(TWO, message="late", headers={"X-Session-Id": session_id})
    assert refused(session(caller, session_id)) == (410, "SESSION_EXPIRED"), "what comes later cannot make it whole"
    answer = caller.http.delete(caller.server.url + "/_control/sessions/none")
    assert refused(answer) == (404, "SESSION_NOT_FOUND")


def test_two_keys_may_use_one_name_without_seeing_each_other(caller: Any, session_id: str) -> None:
    caller.execute(TWO, message="mine", headers={"X-Session-Id": session_id})
    other = {"X-Session-Id": session_id, "Authorization": "Bearer nk_other"}
    caller.execute(TWO, message="theirs", headers=other)
    (mine,) = executions(caller, session_id)
    (theirs,) = session(caller, session_id, Authorization="Bearer nk_other").json()["executions"]
    assert (mine["steps"][0]["inputSnapshot"], theirs["steps"][0]["inputSnapshot"]) == (
        {"prompt": "mine"},
        {"prompt": "theirs"},
    )


def test_an_empty_session_header_is_none(caller: Any) -> None:
    caller.execute(TWO, message="hi", headers={"X-Session-Id": ""})
    assert caller.counts()["sessions"] == {}


def test_reads_of_sessions_are_counted(caller: Any, session_id: str) -> None:
    session(caller, session_id)
    counts = caller.counts(session_id=session_id)
    assert counts["requests"] == []
    assert [(entry["endpoint"], entry["status"], entry["flow"]) for entry in counts["reads"]] == [
        ("session", 404, None)
    ]
    assert counts["sessions"][session_id]["reads"] == {"session": 1}


def test_a_session_that_has_lost_a_run_is_pruned_whole(session_id: str) -> None:
    sessions = Sessions()
    first, second, none = a_run(session_id=session_id), a_run(session_id=session_id), a_run()
    for run in (first, second, none):
        sessions.add(run)
    sessions.forget(none)
    assert sessions.runs(session_id, "nk_x") == [first, second]
    sessions.forget(first)
    with pytest.raises(Refusal, match="410 SESSION_EXPIRED"):
        sessions.runs(session_id, "nk_x")


def test_the_oldest_session_is_forgotten_beyond_the_limit() -> None:
    sessions = Sessions(limit=2)
    ids = [str(uuid.uuid4()) for _ in range(3)]
    for session_id in ids:
        sessions.add(a_run(session_id=session_id))
    with pytest.raises(Refusal, match="404"):
        sessions.runs(ids[0], "nk_x")
    assert len(sessions.runs(ids[2], "nk_x")) == 1


def test_an_execute_shows_while_it_runs_and_whatever_becomes_of_its_caller(caller: Any, session_id: str) -> None:
    path = "acme/test/gated"
    with socket.create_connection((caller.server.host, caller.server.port)) as connection:
        body = b'{"message": "shown"}'
        head = f"POST /api/v1/seq/{path}/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nk_test_key\r\n"
        head += f"X-Session-Id: {session_id}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        caller.wait_at_gate("shown")
        (record,) = executions(caller, session_id)
        assert (record["status"], record["completedAt"], record["triggerType"]) == ("running", None, "execute")
        assert [(step["stepId"], step["status"], step["outputSnapshot"]) for step in record["steps"]] == [
            ("wait", "running", None)
        ]
    # Nobody is there any more, and nothing has changed.
    assert executions(caller, session_id) == [record]
    assert caller.open_gate("shown") == 1
    caller.wait_for(lambda counts: all(run["status"] == "completed" for run in counts["runs"].values()))
    (record,) = executions(caller, session_id)
    assert (record["status"], record["steps"][0]["outputSnapshot"]) == ("completed", "shown")
    counts = caller.counts(session_id=session_id)
    assert counts["sessions"][session_id]["steps"]["wait"] == {
        "started": 1,
        "resumed": 0,
        "completed": 1,
        "failed": 0,
    }
    assert [(entry["endpoint"], entry["status"]) for entry in counts["requests"]] == [("execute", None)]


def test_a_job_a_pause_and_a_failure_show_as_what_they_are(caller: Any, session_id: str) -> None:
    headers = {"X-Session-Id": session_id}
    job = caller.http.post(caller.url("acme/test/gated", "jobs"), json={"message": "queued"}, headers=headers)
    (record,) = executions(caller, session_id)
    assert (record["triggerType"], record["status"]) == ("job", "pending")
    caller.wait_at_gate("queued")
    assert executions(caller, session_id)[0]["status"] == "running"
    tools = [{"type": "function", "function": {"name": "add"}}]
    caller.execute("acme/demo/tools-enabled", message="x", tools=tools, headers=headers)
    caller.execute("acme/test/unlucky", message="x", headers=headers)
    caller.open_gate("queued")
    caller.wait_for(lambda counts: counts["runs"][job.json()["executionId"]]["status"] == "completed")
    assert [(record["status"], record["errorAtStep"]) for record in executions(caller, session_id)] == [
        ("completed", None),
        ("paused", None),
        ("failed", "never"),
    ]
