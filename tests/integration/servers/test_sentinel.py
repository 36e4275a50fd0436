"""`redis-sentinel://`: everything goes on with the replica that has become the primary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.result import AsyncResult

from noukai_sdk.testing import FlowServer
from noukai_worker import Run, enqueue, subscribe
from noukai_worker.errors import StoreUnavailable
from noukai_worker.runs import RunStore, State, operations
from noukai_worker.settings import Settings
from noukai_worker.tasks import app as apps
from tests.integration.conftest import House, installed
from tests.support.processes import until
from tests.support.sentinel import NAME, Watched, watched

pytestmark = pytest.mark.integration


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "redis") as trio:
        yield trio


@pytest.fixture
def sentinel_house(trio: Watched, flow_server: FlowServer, tmp_path: Path) -> Iterator[House]:
    settings = Settings(redis_url=trio.url, base_url=flow_server.base_url)
    with installed(settings, flow_server, tmp_path) as house:
        yield house


def test_runs_of_both_kinds_live_through_a_failover(sentinel_house: House, trio: Watched) -> None:
    house = sentinel_house
    for kind in ("stream", "execute"):
        house.worker(kind)
    parameters = {"steps": 10, "events": 10, "interval": 0.05, "bytes": 60}
    streamed = [enqueue("acme/demo/load", message=f"{n}", parameters=parameters) for n in range(10)]
    executed = enqueue("acme/demo/slow-essay", message="x", mode="execute")
    until(lambda: all(house.view(run.id).step_index >= 1 for run in streamed), "every run has finished a step")
    until(lambda: house.view(executed.id).state is State.RUNNING, "the call is under way")

    seen: list[list[int]] = [[] for _ in streamed]

    async def watch(run: Run, seqs: list[int]) -> None:
        async for entry in subscribe(run.id):
            seqs.append(entry.seq)
            if all(seen) and trio.primary.alive:
                trio.primary.kill()

    async def watch_all() -> None:
        await asyncio.gather(*(watch(run, seqs) for run, seqs in zip(streamed, seen, strict=True)))

    asyncio.run(watch_all())
    assert trio.primary_port() == trio.replica.port
    views = house.wait(*(run.id for run in streamed), executed.id)
    assert {view.state for view in views} == {State.COMPLETED}
    assert seen == [[entry.seq for entry in house.log(run.id)] for run in streamed]
    assert [entry.seq for entry in subscribe(executed.id)] == [entry.seq for entry in house.log(executed.id)]
    assert AsyncResult(executed.id, app=apps.current()).get(timeout=20) == executed.result()
    later = enqueue("acme/demo/hello-world", message="x")
    assert house.wait(later.id)[0].state is State.COMPLETED


def test_a_name_that_the_sentinels_do_not_know_is_said(trio: Watched) -> None:
    store = RunStore(trio.url.replace(f"#{NAME}", "#nobody"))
    with pytest.raises(StoreUnavailable, match="nobody"):
        store.perform(operations.peek("x"))
    store.close()
