"""A run can be cancelled whatever it is doing, by us and by Celery's own means; its page hears of it, and its worker is free."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from celery.result import AsyncResult

from noukai_worker import Run, cancel, enqueue, redrive
from noukai_worker.runs import Mode, State
from noukai_worker.tasks import app as apps
from tests.integration.conftest import House
from tests.support.processes import Process, Worker, running, until

pytestmark = pytest.mark.integration

FLOW = "acme/test/gated"
FLOWS = """
[[flow]]
path = "acme/test/gated"

[[flow.step]]
id = "only"
gate = "g"
"""
SOON = 2.0
"""Seconds within which a page sees the end (issue: 2 s)."""


@pytest.fixture(scope="module")
def noukai_flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "flows.toml"
    path.write_text(FLOWS)
    return path


def queued(house: House, worker: Worker) -> Run:
    worker.suspend()
    return enqueue(FLOW, message="x")


def delayed(house: House, worker: Worker) -> Run:
    return enqueue(FLOW, message="x", delay=3600)


def retrying(house: House, worker: Worker) -> Run:
    house.flow_server.order(flow=FLOW, status=503, retry_after=3600)
    run = enqueue(FLOW, message="x")
    until(lambda: house.view(run.id).state is State.RETRYING, "it waits for its retry")
    return run


def paused(house: House, worker: Worker) -> Run:
    tool = {"type": "function", "function": {"name": "nobody_knows", "parameters": {"type": "object"}}}
    run = enqueue("acme/demo/tools-enabled", message="x", tools=[tool])
    until(lambda: house.view(run.id).state is State.PAUSED, "it waits for tool results")
    return run


def streaming(house: House, worker: Worker) -> Run:
    run = enqueue(FLOW, message="x")
    until(lambda: house.flow_server.held("g") == 1, "it streams")
    return run


WITHOUT_A_WORKER = [queued, delayed, retrying, paused]


def by_us(run: Run) -> None:
    cancel(run.id)


def by_celery(run: Run) -> None:
    AsyncResult(run.id, app=apps.current()).revoke(terminate=True)


def cancelled_soon(house: House, run: Run, how: Callable[[Run], None]) -> None:
    with run.subscribe(after=house.view(run.id).position) as entries:
        before = time.monotonic()
        how(run)
        *_, last = entries
        took = time.monotonic() - before
    assert last.type == "run.cancelled"
    assert took < SOON


@pytest.mark.parametrize("how", [by_us, by_celery])
@pytest.mark.parametrize("state", [*WITHOUT_A_WORKER, streaming])
def test_in_every_state(house: House, state: Callable[[House, Worker], Run], how: Callable[[Run], None]) -> None:
    worker = house.worker("stream")
    run = state(house, worker)
    if how is by_celery:
        worker.resume()  # somebody must hear Celery's order
        if state is queued:
            until(lambda: house.view(run.id).state is State.RUNNING, "its message is taken")
    cancelled_soon(house, run, how)
    worker.resume()
    until(lambda: house.flow_server.held("g") == 0, "nobody is connected to the service")
    until(lambda: AsyncResult(run.id, app=apps.current()).state == "REVOKED", "Celery says so, too")
    assert house.types(run.id)[-1] == "run.cancelled"


@pytest.mark.parametrize("how", [by_us, by_celery])
@pytest.mark.parametrize("mode", ["execute", "job"])
def test_while_it_blocks_in_a_call_that_is_ended(house: House, mode: Mode, how: Callable[[Run], None]) -> None:
    """With one place in the worker, the next run shows that the place is free."""
    kind = "execute" if mode == "execute" else "stream"
    house.worker(kind, NOUKAI_WORKER_EXECUTE_CONCURRENCY="1", NOUKAI_WORKER_STREAM_CONCURRENCY="1")
    run = enqueue(FLOW, message="x", mode=mode)
    until(lambda: house.flow_server.held("g") == 1, "the service is at work")
    if mode == "job":
        until(lambda: "run.submitted" in house.types(run.id), "the job is handed in")
    cancelled_soon(house, run, how)
    after = enqueue("acme/demo/hello-world", message="x", mode=mode)
    (view,) = house.wait(after.id, within=10)
    assert view.state is State.COMPLETED
    house.flow_server.release("g")
    assert house.types(run.id)[-1] == "run.cancelled", "a late result is fenced out"
    until(lambda: AsyncResult(run.id, app=apps.current()).state == "REVOKED", "Celery says so, too")


def test_without_remote_control_a_worker_finds_out_by_itself(house: House) -> None:
    """The order may not reach it: the broker is away, or the application has switched remote control off."""
    house.worker("execute", NOUKAI_WORKER_EXECUTE_CONCURRENCY="1", NOUKAI_WORKER_LEASE="1.5")
    run = enqueue(FLOW, message="x", mode="execute")
    until(lambda: house.flow_server.held("g") == 1, "the service is at work")
    from noukai_worker.runs import operations

    house.store.perform(operations.cancel(run.id))
    after = enqueue("acme/demo/hello-world", message="x", mode="execute")
    house.wait(after.id, within=10)
    house.flow_server.release("g")


def test_a_failed_run_that_was_revoked_can_be_redriven(house: House) -> None:
    """Celery's workers remember the ids of what was revoked, and would throw its message away."""
    house.worker("stream")
    house.flow_server.order(flow="acme/demo/hello-world", times=1, status=400)
    run = enqueue("acme/demo/hello-world", message="x")
    assert house.wait(run.id)[0].state is State.FAILED
    by_celery(run)
    inspect = apps.current().control.inspect(timeout=0.5)
    until(lambda: inspect.stats() and not any((inspect.revoked() or {}).values()), "it was heard, and forgotten")
    redrive(run.id)
    assert house.wait(run.id)[0].state is State.COMPLETED


APPLICATION = """
from celery import Celery
from noukai_worker import Settings, configure

settings = Settings()
app = configure(Celery("shop", broker=settings.broker, backend=settings.redis_url))
"""


class ApplicationWorker(Process):
    """A worker of an application's own Celery app, with a pool of Celery's."""

    def __init__(self, house: House, pool: str) -> None:
        (house.folder / "shop.py").write_text(APPLICATION)
        command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "--pool", pool, "-c", "1", "-l", "INFO"]
        env = house.env | {"PYTHONPATH": str(house.folder), "NOUKAI_WORKER_LEASE": "2"}
        super().__init__([*command, "-Q", "noukai.execute,noukai.stream"], house.folder / "shop.log", env)

    def start(self) -> None:
        super().start()
        until(lambda: " ready." in self.output(), "the worker is ready")


@pytest.mark.parametrize("mode", ["execute", "stream", "job"])
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_in_the_pools_that_celery_brings(house: House, pool: str, mode: Mode) -> None:
    """A child is killed; a thread finds out with its next renewal, and so does the worker that is its own pool."""
    worker = ApplicationWorker(house, pool)
    with running(worker):
        run = enqueue(FLOW, message="x", mode=mode)
        until(lambda: house.flow_server.held("g") == 1, "the service is at work")
        cancelled_soon(house, run, by_us)
        after = enqueue("acme/demo/hello-world", message="x", mode=mode)
        (view,) = house.wait(after.id, within=20)
        assert view.state is State.COMPLETED
        house.flow_server.release("g")
        assert house.types(run.id)[-1] == "run.cancelled"
