"""Traces of all kinds of runs: whole, by step, live; contexts only for those who asked."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from starlette.types import Message

from noukai_worker.dev.flow_server import Flow, Step, create_app, events, live
from noukai_worker.dev.flow_server.flows import Burst
from noukai_worker.dev.flow_server.live import Watchers
from tests.support.flow_server import a_run

TWO = "acme/demo/two-step"


def executed(caller: Any, path: str, **body: Any) -> str:
    return str(caller.execute(path, message="hi", **body).json()["executionId"])


def stepped(caller: Any, path: str, **body: Any) -> str:
    return str(caller.events(path, message="hi", runRemaining=True, **body)[0][1]["executionId"])


def done_as_job(caller: Any, path: str, **body: Any) -> str:
    answer = caller.http.post(caller.url(path, "jobs"), json={"message": "hi"} | body)
    execution_id = str(answer.json()["executionId"])
    caller.wait_for(lambda counts: counts["runs"][execution_id]["status"] in ("completed", "failed"))
    return execution_id


RUNS = [(executed, "execute"), (stepped, "step"), (done_as_job, "job")]


@pytest.mark.parametrize(("start", "trigger"), RUNS)
def test_a_whole_trace_right_after_the_run(caller: Any, start: Callable[..., str], trigger: str) -> None:
    execution_id = start(caller, TWO, trace=True)
    trace = caller.run(TWO, execution_id, "trace").json()
    assert trace.keys() == {"flowRun", "steps"}
    summary = trace["flowRun"]
    assert (summary["id"], summary["status"], summary["triggerType"]) == (execution_id, "completed", trigger)
    assert (summary["stepCount"], type(summary["durationMs"])) == (2, int)
    first, second = trace["steps"]
    assert (first["stepId"], first["attempt"], first["loopIndex"], first["status"]) == ("step-a", 1, None, "completed")
    assert (first["inputContext"], first["outputContext"]) == ({"prompt": "hi"}, {"output": {"text": "a: hi"}})
    assert second["outputContext"] == {"output": {"text": "b: a: hi"}}
    assert first["errorContext"] is None
    assert (first["inputSizeBytes"], first["outputSizeBytes"]) == (len('"hi"'), len('{"text":"a: hi"}'))
    assert first["tokens"]["total"] == first["tokens"]["prompt"] + first["tokens"]["completion"] > 0
    assert Decimal(first["costUsd"]) > 0
    assert first["modelUsed"] == "local/echo"
    times = [summary["startedAt"], first["startedAt"], first["completedAt"], second["startedAt"], second["completedAt"]]
    times.append(summary["completedAt"])
    assert all(text.endswith("Z") for text in times)
    assert [datetime.fromisoformat(text) for text in times] == sorted(datetime.fromisoformat(text) for text in times)


@pytest.mark.parametrize(("start", "_"), RUNS)
def test_without_trace_there_are_sizes_but_no_contexts(caller: Any, start: Callable[..., str], _: str) -> None:
    for path in (TWO, "acme/test/unlucky"):
        execution_id = start(caller, path)
        for step in caller.run(path, execution_id, "trace").json()["steps"]:
            assert (step["inputContext"], step["outputContext"], step["errorContext"]) == (None, None, None)
            assert step["inputSizeBytes"] > 0
            assert (step["outputSizeBytes"] or 0) > 0 or step["status"] == "failed"


def test_a_failed_step_shows_its_error(caller: Any) -> None:
    execution_id = executed(caller, "acme/test/unlucky", trace=True)
    trace = caller.run("acme/test/unlucky", execution_id, "trace").json()
    assert trace["flowRun"]["status"] == "failed"
    (step,) = trace["steps"]
    assert step["errorContext"] == {"code": "STEP_FAILED", "message": "This step was told to fail."}
    assert (step["status"], step["outputContext"], step["tokens"], step["costUsd"]) == ("failed", None, None, None)


def test_attempts_of_a_step(caller: Any) -> None:
    execution_id = stepped(caller, "acme/test/flaky", trace=True)
    for _ in range(2):
        caller.events("acme/test/flaky", executionId=execution_id, stepIndex=1, accumulatedOutputs={"first": "hi"})
    place = ("acme/test/flaky", execution_id, "steps/second/trace")
    latest = caller.run(*place).json()
    assert (latest["attempt"], latest["status"]) == (3, "completed")
    assert caller.run(*place, attempt="latest").json() == latest
    assert caller.run(*place, attempt=1).json()["errorContext"]["code"] == "MODEL_OVERLOADED"
    everything = caller.run(*place, attempt="all").json()
    assert everything["stepId"] == "second"
    assert [(step["attempt"], step["status"]) for step in everything["attempts"]] == [
        (1, "failed"),
        (2, "completed"),
        (3, "completed"),
    ]


def test_laps_of_a_loop(caller: Any) -> None:
    path = "acme/test/chapters"
    execution_id = executed(caller, path, trace=True)
    steps = caller.run(path, execution_id, "trace").json()["steps"]
    assert [(step["stepId"], step["loopIndex"]) for step in steps] == [
        ("each", 0),
        ("each", 1),
        ("each", 2),
        ("join", None),
    ]
    assert [step["costUsd"] for step in steps[:3]] == ["0.001"] * 3
    place = (path, execution_id, "steps/each/trace")
    lap = caller.run(*place, loop_index=1).json()
    assert (lap["loopIndex"], lap["inputContext"]) == (1, {"prompt": "Chapter 1 of hi"})
    assert lap["outputContext"] == {"output": "(Chapter 1 of hi)"}
    assert caller.run(*place).json()["loopIndex"] == 2
    assert len(caller.run(*place, attempt="all").json()["attempts"]) == 3
    assert len(caller.run(*place, attempt="all", loop_index=0).json()["attempts"]) == 1


@pytest.mark.parametrize(
    ("what", "query", "expected"),
    [
        ("steps/nothing/trace", {}, (404, "STEP_NOT_FOUND")),
        ("steps/step-a/trace", {"attempt": 2}, (404, "STEP_NOT_FOUND")),
        ("steps/step-a/trace", {"loop_index": 0}, (404, "STEP_NOT_FOUND")),
        ("steps/step-a/trace", {"attempt": "first"}, (422, "VALIDATION_ERROR")),
        ("steps/step-a/trace", {"attempt": 0}, (422, "VALIDATION_ERROR")),
        ("steps/step-a/trace", {"loop_index": -1}, (422, "VALIDATION_ERROR")),
    ],
)
def test_steps_that_are_not_there(caller: Any, what: str, query: dict[str, Any], expected: tuple[int, str]) -> None:
    answer = caller.run(TWO, executed(caller, TWO), what, **query)
    assert (answer.status_code, answer.json()["detail"]["code"]) == expected


@pytest.mark.parametrize("what", ["trace", "trace/stream", "steps/step-a/trace"])
def test_runs_that_are_not_there(caller: Any, what: str) -> None:
    for path, execution_id in ((TWO, "e-0"), ("acme/demo/hello-world", executed(caller, TWO))):
        answer = caller.run(path, execution_id, what)
        assert (answer.status_code, answer.json()["detail"]["code"]) == (404, "RUN_NOT_FOUND")


@pytest.mark.parametrize(("start", "_"), RUNS)
@pytest.mark.parametrize("path", [TWO, "acme/spelling/grade-3", "acme/test/chapters"])
def test_a_finished_run_is_told_again(
    caller: Any, read_frames: Callable[[str], list[Any]], path: str, start: Callable[..., str], _: str
) -> None:
    execution_id = start(caller, path)
    live = caller.events(path, message="hi", runRemaining=True)
    told = read_frames(caller.run(path, execution_id, "trace/stream").text)
    assert [name for name, _ in told] == [name for name, _ in live if name != "step_output"]
    assert told[-1] == ("flow_completed", {"executionId": execution_id, "result": live[-1][1]["result"]})
    for (name, data), (_, twin) in zip(told, (event for event in live if event[0] != "step_output"), strict=True):
        assert data.keys() == twin.keys(), name
    assert [data["stepIndex"] for name, data in told if name == "step_completed"] == [0, 1]


def test_a_failed_run_is_told_to_its_error(caller: Any, read_frames: Callable[[str], list[Any]]) -> None:
    told = read_frames(caller.run("acme/test/unlucky", executed(caller, "acme/test/unlucky"), "trace/stream").text)
    assert [name for name, _ in told] == ["run_started", "step_started", "step_error"]
    assert told[-1][1]["error"]["code"] == "STEP_FAILED"


def watched(caller: Any, path: str, execution_id: str, until: str, then: Callable[[], object]) -> str:
    """Read a live trace to its end; once it has said ``until``, do ``then``."""
    text, did = "", False
    with caller.http.stream("GET", caller.url(path, f"runs/{execution_id}/trace/stream")) as answer:
        for piece in answer.iter_text():
            text += piece
            if until in text and not did:
                did = True
                then()
    assert did
    return text


def test_a_running_job_is_followed_to_its_end(caller: Any, read_frames: Callable[[str], list[Any]]) -> None:
    path, gate = "acme/test/gated", "followed"
    answer = caller.http.post(caller.url(path, "jobs"), json={"message": gate})
    execution_id = answer.json()["executionId"]
    text = watched(caller, path, execution_id, "step_started", lambda: caller.open_gate(gate))
    told = read_frames(text)
    assert [name for name, _ in told] == [
        "run_started",
        "step_started",
        "step_output",
        "step_completed",
        "flow_completed",
    ]
    assert told[-1][1]["result"] == gate


def test_a_watcher_who_comes_in_the_middle_misses_nothing(caller: Any, read_frames: Callable[[str], list[Any]]) -> None:
    path, gate = "acme/test/gated", "middle"
    answer = caller.http.post(caller.url(path, "jobs"), json={"message": gate})
    execution_id = answer.json()["executionId"]
    caller.wait_at_gate(gate)
    trace = caller.run(path, execution_id, "trace").json()
    assert (trace["flowRun"]["status"], trace["flowRun"]["completedAt"]) == ("running", None)
    assert [(step["status"], step["completedAt"]) for step in trace["steps"]] == [("running", None)]
    text = watched(caller, path, execution_id, "step_started", lambda: caller.open_gate(gate))
    assert [name for name, _ in read_frames(text)].count("step_started") == 1
    assert read_frames(text)[-1][0] == "flow_completed"


def test_a_stepped_run_is_followed_over_its_calls(caller: Any, read_frames: Callable[[str], list[Any]]) -> None:
    execution_id = caller.events(TWO, message="hi")[0][1]["executionId"]

    def second_call() -> None:
        outputs = {"step-a": {"text": "a: hi"}}
        caller.step(TWO, executionId=execution_id, stepIndex=1, accumulatedOutputs=outputs)

    text = watched(caller, TWO, execution_id, "step_completed", threading.Thread(target=second_call).start)
    told = read_frames(text)
    assert [(name, data.get("stepIndex")) for name, data in told] == [
        ("run_started", None),
        ("step_started", 0),
        ("step_completed", 0),
        ("step_started", 1),
        ("step_completed", 1),
        ("flow_completed", None),
    ]


def hanging_execute(caller: Any, path: str, message: str) -> socket.socket:
    """Begin an execute that waits at the gate ``message``; closing the socket is leaving it."""
    body = json.dumps({"message": message}).encode()
    head = f"POST /api/v1/seq/{path}/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nk_x\r\n"
    connection = socket.create_connection((caller.server.host, caller.server.port))
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    caller.wait_at_gate(message)
    return connection


def test_leaving_an_execute_ends_its_live_trace(caller: Any, read_frames: Callable[[str], list[Any]]) -> None:
    path = "acme/test/gated-and-stopped"
    connection = hanging_execute(caller, path, "left")
    (execution_id,) = caller.counts()["runs"]
    live = watched(caller, path, execution_id, "step_started", connection.close)
    told = read_frames(live)
    assert [name for name, _ in told] == ["run_started", "step_started", "step_error"]
    assert told[-1][1]["error"]["code"] == "ABANDONED"
    assert caller.run(path, execution_id, "trace/stream").text == live
    assert caller.run(path, execution_id, "trace").json()["flowRun"]["status"] == "failed"


def a_scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer nk_x")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }


def test_who_does_not_watch_any_more_is_forgotten() -> None:
    run, watchers = a_run(), Watchers()
    with watchers.watching(run) as first, watchers.watching(run) as second:
        watchers.tell(run, ("step_started", {}))
    watchers.tell(run, None)
    assert (first.qsize(), second.qsize()) == (1, 1)
    assert watchers._queues == {}


def test_a_watcher_who_reads_too_slowly_is_cut_off_without_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_BEHIND", 2)
    flow = Flow(path="a/b/c", steps=(Step(id="s", gate="go", burst=Burst(events=9, bytes=9)),))
    sent: list[Message] = []

    async def scene() -> None:
        reading, done = asyncio.Event(), asyncio.Event()
        app = create_app(flows={flow.path: flow})
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://flows/api/v1/seq/a/b/c") as http,
        ):
            headers = {"Authorization": "Bearer nk_x"}
            job = (await http.post("/jobs", json={"message": "x"}, headers=headers)).json()["executionId"]

            async def receive() -> Message:
                await done.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                sent.append(message)
                if b"step_output" in message.get("body", b""):
                    await reading.wait()

            scope = a_scope(f"/api/v1/seq/a/b/c/runs/{job}/trace/stream")
            watching = asyncio.create_task(app(scope, receive, send))
            async with asyncio.timeout(10):
                await http.post("http://flows/_control/gates/go")
                while (await http.get(f"/jobs/{job}", headers=headers)).json()["status"] != "completed":  # noqa: ASYNC110
                    await asyncio.sleep(0)  # what it waits for has no event
                reading.set()
                with pytest.raises(ConnectionResetError):
                    await watching

    asyncio.run(scene())
    told = b"".join(message.get("body", b"") for message in sent)
    numbers = [json.loads(line[6:])["outputData"]["n"] for line in told.splitlines() if b"outputData" in line]
    assert numbers == [0, 1, 2]
    assert b"step_completed" not in told
    assert sent[-1]["more_body"]


def test_a_silent_live_trace_is_kept_open_with_comments(caller: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_EVERY", 0.01)
    execution_id = caller.events(TWO, message="hi")[0][1]["executionId"]
    with caller.http.stream("GET", caller.url(TWO, f"runs/{execution_id}/trace/stream")) as answer:
        text = ""
        for piece in answer.iter_text():
            text += piece
            if text.count(": ping\n\n") == 3:
                break
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_watcher_who_leaves_is_forgotten() -> None:
    flow = Flow(path="a/b/c", steps=(Step(id="s", gate="never"),))

    async def scene() -> None:
        app = create_app(flows={flow.path: flow})
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://flows/api/v1/seq/a/b/c") as http,
        ):
            headers = {"Authorization": "Bearer nk_x"}
            job = (await http.post("/jobs", json={"message": "x"}, headers=headers)).json()["executionId"]
            before = asyncio.all_tasks()
            sent: list[Message] = []

            async def receive() -> Message:
                while not sent:  # noqa: ASYNC110 - what it waits for has no event
                    await asyncio.sleep(0)
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                sent.append(message)

            scope = a_scope(f"/api/v1/seq/a/b/c/runs/{job}/trace/stream")
            async with asyncio.timeout(10):
                await app(scope, receive, send)
            assert asyncio.all_tasks() == before

    asyncio.run(scene())
