"""``/_control/counts``: all the requests and step executions of one logical run can be found."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from noukai_worker.dev.flow_server import create_app
from noukai_worker.dev.flow_server.clock import Clock
from noukai_worker.dev.flow_server.ledger import Ledger
from tests.support.flow_server import a_run


def test_a_stepped_run_is_found_by_each_of_its_names(caller: Any) -> None:
    before = time.time()
    caller.execute("acme/demo/hello-world", message="somebody else's")
    headers = {"X-Session-Id": "session-7"}
    first = caller.step("acme/demo/two-step", message="my text", headers=headers)
    execution_id = first.text.split('"executionId":"')[1].split('"')[0]
    caller.events(
        "acme/demo/two-step", executionId=execution_id, stepIndex=1, accumulatedOutputs={"step-a": {"text": ""}}
    )
    steps = {name: {"started": 1, "resumed": 0, "completed": 1, "failed": 0} for name in ("step-a", "step-b")}
    wanted = {
        "flow": "acme/demo/two-step",
        "session_id": "session-7",
        "message": "my text",
        "execution_id": execution_id,
    }
    for name, value in wanted.items():
        counts = caller.counts(**{name: value})
        assert [entry["step_index"] for entry in counts["requests"]] == [0, 1]
        assert {entry["execution_id"] for entry in counts["requests"]} == {execution_id}
        run = counts["runs"][execution_id]
        assert run["steps"] == steps
        assert run["requests"] == {"execute": 0, "step": 2, "jobs": 0}
        assert (run["message"], run["session_id"], run["trigger"], run["status"]) == (
            "my text",
            "session-7",
            "step",
            "completed",
        )
        assert before - 1 < run["request_times"][0] < run["request_times"][1] < time.time() + 1
        for group, key in (("flows", "flow"), ("sessions", "session_id"), ("messages", "message")):
            tally = counts[group][wanted[key]]
            assert (tally["executions"], tally["steps"]) == (1, steps)
            assert tally["execution_ids"] == [execution_id]
            assert len(tally["request_times"]) == 2


def test_reset_forgets_the_counts_but_not_the_run(caller: Any) -> None:
    execution_id = caller.events("acme/demo/two-step", message="x")[0][1]["executionId"]
    caller.http.delete(caller.server.url + "/_control/counts")
    assert caller.counts()["requests"] == []
    caller.events(
        "acme/demo/two-step", executionId=execution_id, stepIndex=1, accumulatedOutputs={"step-a": {"text": ""}}
    )
    run = caller.counts()["runs"][execution_id]
    assert run["executions"] == 0
    assert run["steps"].keys() == {"step-b"}


def test_a_wrong_filter_is_refused(caller: Any) -> None:
    answer = caller.http.get(caller.server.url + "/_control/counts", params={"session": "x"})
    assert answer.status_code == 400
    assert "session_id" in answer.json()["detail"]["message"]


@pytest.mark.parametrize(
    ("client", "status"), [("127.0.0.1", 200), ("127.9.9.9", 200), ("::1", 200), ("10.0.0.7", 403), ("testclient", 403)]
)
def test_control_answers_only_this_machine(client: str, status: int) -> None:
    async def ask() -> list[int]:
        transport = httpx.ASGITransport(create_app(), client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://flows") as http:
            calls = [
                ("GET", "counts"),
                ("DELETE", "counts"),
                ("GET", "manners"),
                ("POST", "manners"),
                ("DELETE", "manners"),
                ("GET", "gates"),
                ("POST", "gates/x"),
                ("DELETE", "gates/x"),
                ("GET", "credits"),
                ("POST", "credits"),
                ("DELETE", "sessions/x"),
                ("POST", "reset"),
            ]
            order = {"manner": {"delay": 1}}
            return [(await http.request(method, f"/_control/{name}", json=order)).status_code for method, name in calls]

    # Here: no amounts in that body, and no such session.
    assert asyncio.run(ask()) == ([200] * 9 + [400, 404, 200] if status == 200 else [status] * 12)


def test_what_was_forgotten_is_announced() -> None:
    clock = Clock()
    ledger = Ledger(clock, kept_requests=2, kept_runs=1)
    for number in range(3):
        ledger.request("step", f"flow-{number}")
    for message in ("first", "second"):
        ledger.execution(a_run(message=message, started_at=clock()))
    counts = ledger.counts({})
    assert counts["forgotten"] == 2
    assert [entry["flow"] for entry in counts["requests"]] == ["flow-1", "flow-2"]
    assert [entry["message"] for entry in counts["runs"].values()] == ["second"]
