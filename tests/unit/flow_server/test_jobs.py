"""``/jobs``: work that outlives its request, polled until it is done."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest

from noukai_worker.dev.flow_server import Flow, Step, create_app, running
from tests.support.flow_server import refused


def submitted(caller: Any, path: str, **body: Any) -> dict[str, Any]:
    answer = caller.http.post(caller.url(path, "jobs"), json=body)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def polled(caller: Any, path: str, execution_id: str) -> dict[str, Any]:
    answer = caller.http.get(caller.url(path, f"jobs/{execution_id}"))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def until_over(caller: Any, path: str, execution_id: str) -> tuple[list[str], dict[str, Any]]:
    statuses: list[str] = []
    while True:
        state = polled(caller, path, execution_id)
        if state["status"] not in statuses:
            statuses.append(state["status"])
        if state["status"] in ("completed", "failed"):
            return statuses, state


def test_a_job_is_accepted_pending_then_completed(caller: Any) -> None:
    accepted = submitted(caller, "acme/demo/two-step", message="hi", iterationsUsed=0, accumulatedOutputs={})
    assert accepted.keys() == {"executionId", "status", "flowId", "blockCount"}
    assert (accepted["status"], accepted["blockCount"]) == ("started", 2)
    first = polled(caller, "acme/demo/two-step", accepted["executionId"])
    assert first == {"executionId": accepted["executionId"], "status": "pending", "result": None, "error": None}
    statuses, last = until_over(caller, "acme/demo/two-step", accepted["executionId"])
    assert statuses[-1] == "completed"
    assert set(statuses) <= {"pending", "running", "completed"}
    assert (last["result"], last["error"]) == ({"text": "b: a: hi"}, None)


def test_a_job_is_pending_long_enough_to_be_seen(caller: Any) -> None:
    accepted = submitted(caller, "acme/demo/two-step", message="hi")
    until_over(caller, "acme/demo/two-step", accepted["executionId"])
    run = caller.counts()["runs"][accepted["executionId"]]
    assert run["completed_at"] - run["started_at"] > 0.05


def test_a_job_runs_while_its_step_waits(caller: Any) -> None:
    accepted = submitted(caller, "acme/test/gated", message="job-gate")
    caller.wait_at_gate("job-gate")
    assert polled(caller, "acme/test/gated", accepted["executionId"])["status"] == "running"
    caller.open_gate("job-gate")
    assert until_over(caller, "acme/test/gated", accepted["executionId"])[1]["result"] == "job-gate"


def test_a_failed_job_says_why_in_text(caller: Any) -> None:
    accepted = submitted(caller, "acme/test/unlucky", message="x")
    statuses, last = until_over(caller, "acme/test/unlucky", accepted["executionId"])
    assert statuses[-1] == "failed"
    assert (last["result"], last["error"]) == (None, "This step was told to fail.")


def test_a_job_takes_a_version_and_its_poll_does_not(caller: Any) -> None:
    accepted = submitted(caller, "acme/demo/two-step/v3", message="hi")
    assert caller.counts()["runs"][accepted["executionId"]]["version"] == "v3"
    until_over(caller, "acme/demo/two-step", accepted["executionId"])
    assert caller.http.get(caller.url("acme/demo/two-step/v3", f"jobs/{accepted['executionId']}")).status_code == 404
    answer = caller.http.post(caller.url("acme/demo/two-step/v10", "jobs"), json={"message": "x"})
    assert refused(answer) == (400, "INVALID_VERSION")


def test_unknown_jobs(caller: Any) -> None:
    accepted = submitted(caller, "acme/demo/two-step", message="hi")
    no_job = caller.execute("acme/demo/two-step", message="x").json()["executionId"]
    for path, execution_id in (
        ("acme/demo/two-step", "e-0"),
        ("acme/demo/two-step", no_job),
        ("acme/demo/hello-world", accepted["executionId"]),
    ):
        answer = caller.http.get(caller.url(path, f"jobs/{execution_id}"))
        assert refused(answer) == (404, "JOB_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"tools": [{"type": "function", "function": {"name": "a"}}]}, (400, "TOOLS_REQUIRE_SYNC_EXECUTE")),
        ({"executionId": "e-1"}, (400, "EXECUTION_ID_INVALID")),
        ({"callbackUrl": "http://example.com/hook"}, (400, "CALLBACK_INVALID")),
        ({"callbackUrl": "https://"}, (400, "CALLBACK_INVALID")),
        ({"callbackUrl": "https://x/y", "callbackEvents": ["flow.started"]}, (400, "CALLBACK_INVALID")),
        ({"message": None}, (400, "MISSING_MESSAGE")),
    ],
)
def test_jobs_that_are_not_taken(caller: Any, body: dict[str, Any], expected: tuple[int, str]) -> None:
    answer = caller.http.post(caller.url("acme/demo/tools-enabled", "jobs"), json={"message": "x"} | body)
    assert refused(answer) == expected
    assert caller.counts()["runs"] == {}


@pytest.mark.parametrize("spelling", [("callbackUrl", "callbackEvents"), ("callback_url", "callback_events")])
def test_a_callback_is_taken_and_not_called(caller: Any, spelling: tuple[str, str]) -> None:
    url, events = spelling
    accepted = submitted(caller, "acme/demo/two-step", message="x", **{url: "https://x/y", events: ["flow.failed"]})
    assert until_over(caller, "acme/demo/two-step", accepted["executionId"])[0][-1] == "completed"


def test_a_flow_with_tools_does_without_them_as_a_job(caller: Any) -> None:
    accepted = submitted(caller, "acme/demo/tools-enabled", message="x", tools=[])
    assert until_over(caller, "acme/demo/tools-enabled", accepted["executionId"])[1]["result"] == "x → no tools"


def test_a_job_cannot_be_stepped_or_resumed(caller: Any) -> None:
    path = "acme/demo/two-step"
    job = submitted(caller, path, message="hi")["executionId"]
    assert refused(caller.step(path, executionId=job, stepIndex=0)) == (400, "EXECUTION_ID_INVALID")
    resume = {"executionId": job, "pausedAtStep": "step-a", "toolCallMessages": [{"role": "tool"}]}
    assert refused(caller.execute(path, **resume)) == (400, "PAUSED_STEP_INVALID")
    assert until_over(caller, path, job)[0][-1] == "completed"


def test_polls_are_counted_as_reads_and_not_as_requests(caller: Any) -> None:
    path = "acme/demo/two-step"
    job = submitted(caller, path, message="hi")["executionId"]
    polled(caller, path, job)
    polled(caller, path, job)
    counts = caller.counts(execution_id=job)
    assert [entry["endpoint"] for entry in counts["requests"]] == ["jobs"]
    assert [(entry["endpoint"], entry["status"], entry["message"]) for entry in counts["reads"]] == [
        ("poll", 200, "hi")
    ] * 2
    run = counts["runs"][job]
    assert (run["requests"], run["reads"]) == ({"execute": 0, "step": 0, "jobs": 1}, {"poll": 2})
    assert len(run["request_times"]) == 1


def test_the_job_of_a_lost_answer_is_queued_all_the_same(caller: Any) -> None:
    caller.order({"endpoint": "jobs", "manner": {"cut_after_work": True}})
    with pytest.raises(httpx.RemoteProtocolError):
        submitted(caller, "acme/demo/two-step", message="lost")
    (job,) = caller.counts(message="lost")["runs"]
    assert until_over(caller, "acme/demo/two-step", job)[0][-1] == "completed"


def test_stopping_the_server_ends_its_jobs() -> None:
    before = set(threading.enumerate())
    with running() as server, httpx.Client(trust_env=False, headers={"Authorization": "Bearer nk_x"}) as http:
        answer = http.post(f"{server.base_url}/seq/acme/demo/slow-essay/jobs", json={"message": "x"})
        assert answer.status_code == 202
    assert set(threading.enumerate()) <= before


def test_stopping_the_application_leaves_no_task() -> None:
    flow = Flow(path="a/b/c", steps=(Step(id="s", gate="never"),))

    async def scene() -> None:
        app = create_app(flows={flow.path: flow})
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://flows") as http,
        ):
            headers = {"Authorization": "Bearer nk_x"}
            answer = await http.post("/api/v1/seq/a/b/c/jobs", json={"message": "x"}, headers=headers)
            assert answer.status_code == 202
            assert len(asyncio.all_tasks()) == 2
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scene())
