"""Failed runs tried once more: the same id, behind the finished steps, and everybody who asks is given the new end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain

from noukai_worker import Run, dead, enqueue, redrive, redrive_all, stream_flow, subscribe
from noukai_worker.errors import RunFailed, RunNotFailed
from noukai_worker.runs import Mode, State
from noukai_worker.tasks import app as apps
from tests.integration.conftest import House
from tests.support.processes import until

pytestmark = pytest.mark.integration

FLOW = "acme/test/fails"
FLOWS = """
[[flow]]
path = "acme/test/fails"

[[flow.step]]
id = "first"
output = "one: {message}"

[[flow.step]]
id = "second"
failure = { times = 1, code = "MODEL_BROKEN", message = "Out of order." }
gate = "second"
output = "two: {previous}"
"""
MODES: tuple[Mode, ...] = ("stream", "execute")


@pytest.fixture(scope="module")
def noukai_flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "flows.toml"
    path.write_text(FLOWS)
    return path


@contextlib.contextmanager
def waiting(call: Any) -> Iterator[list[Any]]:
    """What a call returns, or raises, that waits in a thread; joined at the end."""
    answers: list[Any] = []

    def wait() -> None:
        try:
            answers.append(call())
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    yield answers
    thread.join(60)
    assert not thread.is_alive()


def celerys(run_id: str) -> Any:
    """What a Celery client gets that knows the id only: the result, or the error."""
    return apps.current().AsyncResult(run_id).get(timeout=60, propagate=False)


def failed(house: House, mode: Mode) -> Run:
    run = enqueue(FLOW, message="hi", mode=mode, max_attempts=1)
    house.flow_server.release("second")
    (view,) = house.wait(run.id)
    assert view.state is State.FAILED
    until(lambda: apps.current().AsyncResult(run.id).state == "FAILURE", "Celery knows, a moment after the log")
    assert isinstance(celerys(run.id), RunFailed)
    return run


@pytest.mark.parametrize("mode", MODES)
def test_a_redriven_run_goes_on_and_whoever_asks_gets_its_new_end(house: House, mode: Mode) -> None:
    worker = house.worker(mode)
    run = failed(house, mode)
    with pytest.raises(RunFailed):
        run.result()
    (listed,) = dead()
    assert (listed.id, listed.failure) == (run.id, house.view(run.id).failure)

    worker.stop()
    again = redrive(run.id)
    assert not apps.current().AsyncResult(run.id).ready(), "Celery waits, too"
    house.worker(mode)
    with waiting(lambda: celerys(run.id)) as theirs, waiting(run.result) as ours:
        until(lambda: house.view(run.id).state is State.COMPLETED, "the run is completed")
    assert ours == theirs == ["two: one: hi"]
    entries = list(subscribe(run.id, after=again.position))
    assert (entries[0].type, entries[0].data["redriven"]) == ("run.retrying", True)
    assert entries[-1].type == "run.completed"
    assert house.view(run.id).attempt == 2
    assert dead() == []
    steps = house.flow_server.counts()["flows"][FLOW]["steps"]
    assert steps["first"]["completed"] == (1 if mode == "stream" else 2), (
        "a finished step of a stream is not paid again"
    )
    assert steps["second"]["completed"] == 1
    with pytest.raises(RunNotFailed):
        redrive(run.id)


def test_a_chain_goes_on_behind_a_redriven_run(house: House) -> None:
    worker = house.worker("stream")
    steps = (stream_flow.si(FLOW, message="hi", max_attempts=1), stream_flow.si("acme/demo/hello-world", message="you"))
    last = chain(*steps).apply_async()
    house.flow_server.release("second")
    until(lambda: apps.current().AsyncResult(last.id).state == "FAILURE", "Celery has ended the whole chain")
    assert isinstance(celerys(last.id), RunFailed)
    worker.stop()
    redrive(last.parent.id)
    assert not apps.current().AsyncResult(last.id).ready(), "the end of the chain is open, too"
    house.worker("stream")
    assert "you" in str(celerys(last.id))
    assert house.view(last.id).state is State.COMPLETED


def test_a_redriven_run_that_fails_again_is_dead_again(house: House) -> None:
    house.worker("stream")
    run = failed(house, "stream")
    seen: list[str] = []
    with waiting(
        lambda: [seen.append(entry.type) for entry in subscribe(run.id, after=house.view(run.id).position - 1)]
    ):
        until(lambda: seen, "a reader has seen its end")
    assert seen == ["run.failed"]
    house.flow_server.order(flow=FLOW, times=9, status=400, code="WORSE")
    assert [one.error for one in redrive_all(flow=FLOW, since="1h")] == [None]
    house.wait(run.id)
    (view,) = dead(code="WORSE")
    assert view.id == run.id
    assert "WORSE" in str(celerys(run.id))
    types = house.types(run.id)
    assert types.count("run.failed") == 1
    assert types[-1] == "run.failed"


def test_a_broker_that_is_away_does_not_lose_a_redriven_run(house: House) -> None:
    house.worker("stream")
    run = failed(house, "stream")
    away = {"NOUKAI_BROKER_URL": "redis://127.0.0.1:1/0", "NOUKAI_WORKER_PICKUP": "1"}
    order = subprocess.run(
        [sys.executable, "-m", "noukai_worker", "dead", "redrive", run.id],
        env=os.environ | house.env | away,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (order.returncode, order.stdout) == (0, f"{run.id} redriven\n")
    assert "its message will be sent by a worker" in order.stderr
    (view,) = house.wait(run.id)
    assert view.state is State.COMPLETED
    until(lambda: apps.current().AsyncResult(run.id).state == "SUCCESS", "Celery knows, too")
