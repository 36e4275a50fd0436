"""What became of an `execute` that was cut off: its session tells, to whoever comes next."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from noukai_sdk import CallInterruptedError, Interruption, ResultNotRecordedError, SessionNotFoundError
from noukai_sdk.testing import FlowServer, flow_server

pytestmark = pytest.mark.integration

FLOWS = """
[[flow]]
path = "acme/it/gated"
step = [{ id = "first", output = "1" }, { id = "last", gate = "{message}", output = { said = "{message}" } }]

[[flow]]
path = "acme/it/bare"
snapshots = false
step = [{ id = "only" }]
"""


def until(condition: Callable[[], Any]) -> Any:
    ends_at = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < ends_at
        time.sleep(0.005)
    return value


def control(server: FlowServer, method: str, what: str) -> Any:
    return httpx.request(method, f"{server.url}/_control/{what}", trust_env=False).raise_for_status().json()


def test_an_execute_that_was_interrupted_is_found_again(tmp_path: Any) -> None:
    (tmp_path / "flows.toml").write_text(FLOWS)
    session_id, interruption, outcome = str(uuid.uuid4()), Interruption(), []

    def call() -> None:
        with server.client() as client, interruption.covers():
            try:
                client.flow("acme/it/gated").execute("tea", session_id=session_id)
            except CallInterruptedError as error:
                outcome.append(error.sent)

    with flow_server(flows=tmp_path / "flows.toml") as server, server.client() as client:
        session = client.session(session_id)
        with pytest.raises(SessionNotFoundError):
            session.read()
        thread = threading.Thread(target=call)
        thread.start()
        until(lambda: control(server, "GET", "gates")["gates"].get("tea", {}).get("waiting") == 1)
        interruption.interrupt()
        thread.join(10)
        assert outcome == [True]

        (run,) = session.read().executions
        assert (run.trigger, run.slug, run.status, run.finished) == ("execute", "gated", "running", False)
        assert [step.output for step in run.steps] == ["1", None]
        with pytest.raises(ResultNotRecordedError, match="had not ended"):
            run.result()

        control(server, "POST", "gates/tea")
        (run,) = until(lambda: [run for run in session.read().executions if run.finished])
        assert run.result().raise_for_status().output == {"said": "tea"}
        steps = server.counts(session_id=session_id)["sessions"][session_id]["steps"]
        assert {name: (row["started"], row["completed"]) for name, row in steps.items()} == {
            "first": (1, 1),
            "last": (1, 1),
        }


def test_a_result_that_was_not_kept_is_not_made_up(tmp_path: Any) -> None:
    (tmp_path / "flows.toml").write_text(FLOWS)
    session_id = str(uuid.uuid4())
    with flow_server(flows=tmp_path / "flows.toml") as server, server.client() as client:
        client.flow("acme/it/bare").execute("x", session_id=session_id)
        (run,) = client.session(session_id).read().executions
        assert run.finished
        with pytest.raises(ResultNotRecordedError, match="without its outputs"):
            run.result()
