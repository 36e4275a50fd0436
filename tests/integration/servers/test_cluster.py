"""Runs on a real cluster: readers, killed workers, a node that dies, a slot that moves. (All laws: NOUKAI_TEST_SERVER=cluster.)"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.result import AsyncResult

from noukai_sdk.testing import FlowServer
from noukai_worker import Run, cancel, enqueue, recent, subscribe
from noukai_worker.errors import StoreUnavailable
from noukai_worker.runs import AsyncRunStore, RunStore, State, answers, keys, operations
from noukai_worker.settings import Settings
from noukai_worker.subscriber import Hub, Subscription
from noukai_worker.sweeper import Sweeper
from noukai_worker.tasks import app as apps
from tests.integration.conftest import House, installed
from tests.integration.subscriber.conftest import Writer
from tests.support.cluster import AsOneServer, Cluster, ask, clustered
from tests.support.leaks import immortal
from tests.support.processes import RedisServer, until

pytestmark = pytest.mark.integration
LOAD = {"steps": 8, "events": 10, "interval": 0.05, "bytes": 60}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with clustered(tmp_path / "cluster", replicated=3) as cluster:
        yield cluster


@pytest.fixture
def cluster_house(
    cluster: Cluster, redis_server: RedisServer, flow_server: FlowServer, tmp_path: Path
) -> Iterator[House]:
    ask(redis_server, "FLUSHALL")
    settings = Settings(redis_url=cluster.url, broker_url=redis_server.url, base_url=flow_server.base_url)
    with installed(settings, flow_server, tmp_path) as house:
        yield house
    with AsOneServer(cluster.url) as client:
        assert immortal(client) == []


async def read(run: Run, seqs: list[int]) -> None:
    """Others see what has come so far."""
    async for entry in subscribe(run.id):
        seqs += [entry.seq]


async def read_all(runs: list[Run], seen: list[list[int]]) -> None:
    await asyncio.gather(*(read(run, seqs) for run, seqs in zip(runs, seen, strict=True)))


def test_both_kinds_of_run_are_worked_on_watched_listed_and_cancelled(cluster_house: House, cluster: Cluster) -> None:
    house = cluster_house
    for kind in ("stream", "execute"):
        house.worker(kind)
    streamed: list[Run] = []
    while len({cluster.primary_of(run.id).port for run in streamed}) < 3:  # until every node has some
        streamed += [enqueue("acme/demo/load", message=f"{n}", parameters=LOAD) for n in range(4)]
    executed = enqueue("acme/demo/hello-world", message="x", mode="execute")
    delayed = enqueue("acme/demo/hello-world", message="x", delay=0.5)
    endless = enqueue("acme/demo/slow-essay", message="x")
    seen: list[list[int]] = [[] for _ in streamed]
    asyncio.run(read_all(streamed, seen))
    until(lambda: house.view(endless.id).state is State.RUNNING, "the last one is claimed")
    assert cancel(endless.id) is State.RUNNING
    house.wait(executed.id, delayed.id)
    assert seen == [[entry.seq for entry in house.log(run.id)] for run in streamed]
    assert [entry.seq for entry in subscribe(executed.id)] == [entry.seq for entry in house.log(executed.id)]
    assert AsyncResult(executed.id, app=apps.current()).get(timeout=20) == executed.result()
    assert [view.id for view in recent(4)] == [endless.id, delayed.id, executed.id, streamed[-1].id]
    with AsOneServer(cluster.url) as client:
        until(lambda: client.zcard(keys.DEADLINES) == 0, "the last end is settled")


def test_a_killed_worker_is_healed_by_a_sweeper(cluster_house: House) -> None:
    house = cluster_house
    victim = house.worker("stream")
    runs = [enqueue("acme/demo/load", message=f"{n}", parameters=LOAD) for n in range(12)]
    until(lambda: all(house.view(run.id).step_index >= 1 for run in runs), "every run has finished a step")
    house.worker("stream")
    victim.kill()
    views = house.wait(*(run.id for run in runs))
    assert {(view.state, view.attempt) for view in views} == {(State.COMPLETED, 2)}
    for run in runs:
        assert [e.data["stepIndex"] for e in house.log(run.id) if e.type == "step_completed"] == list(range(8))


def test_a_node_dies_and_its_replica_takes_over_under_streams_and_readers(
    cluster_house: House, cluster: Cluster
) -> None:
    house = cluster_house
    house.worker("stream")
    house.worker("execute")
    parameters = LOAD | {"steps": 25}
    runs = [enqueue("acme/demo/load", message=f"{n}", parameters=parameters) for n in range(12)]
    executed = [enqueue("acme/demo/slow-essay", message=f"{n}", mode="execute") for n in range(6)]
    until(lambda: all(house.view(run.id).step_index >= 1 for run in runs), "every run has finished a step")
    until(lambda: all(house.view(run.id).state is State.RUNNING for run in executed), "all calls are under way")
    victim = cluster.primary_of(runs[0].id)
    seen: list[list[int]] = [[] for _ in runs]

    def kill_when_attached() -> None:
        until(lambda: all(seen), "every reader is attached")
        victim.kill()

    killing = threading.Thread(target=kill_when_attached)
    killing.start()
    asyncio.run(read_all(runs, seen))
    killing.join()
    assert not victim.alive
    assert cluster.primary_of(runs[0].id) in cluster.replicas
    views = house.wait(*(run.id for run in (*runs, *executed)))
    assert {(view.state, view.attempt) for view in views} == {(State.COMPLETED, 1)}
    assert seen == [[entry.seq for entry in house.log(run.id)] for run in runs]
    calls = house.flow_server.counts()["requests"]
    assert len([call for call in calls if call["flow"] == "acme/demo/slow-essay"]) == len(executed), (
        "nothing is paid twice"
    )


def test_a_slot_moves_under_a_writer_and_its_readers(cluster_house: House, cluster: Cluster) -> None:
    house = cluster_house
    house.worker("stream")
    run = enqueue("acme/demo/load", message="x", parameters=LOAD | {"steps": 20})
    seen: list[list[int]] = [[]]
    blocking: list[int] = []
    source = cluster.primary_of(run.id)
    others = [node for node in cluster.primaries if node is not source]
    listening = threading.Thread(target=lambda: blocking.extend(entry.seq for entry in subscribe(run.id)))
    listening.start()

    def move() -> None:
        for target in (*others, source):
            had = len(seen[0])
            until(lambda had=had: len(seen[0]) > had + 5, "the reader is attached and reads")
            cluster.move(run.id, target)

    moving = threading.Thread(target=move)
    moving.start()
    asyncio.run(read_all([run], seen))
    moving.join()
    listening.join()
    (view,) = house.wait(run.id)
    assert (view.state, view.attempt) == (State.COMPLETED, 1)
    assert seen == [blocking] == [[entry.seq for entry in house.log(run.id)]]


def test_a_node_that_is_away_keeps_nobody_from_the_runs_of_the_others(tmp_path: Path) -> None:
    """Without a replica: its runs wait, and say so."""
    with clustered(tmp_path / "cluster") as cluster, contextlib.closing(RunStore(cluster.url)) as store:
        for node in cluster.primaries:
            ask(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        runs = [str(uuid.uuid4()) for _ in range(40)]
        for run_id in runs:
            store.perform(create(run_id))
        victim = cluster.primaries[1]
        lost = {run_id for run_id in runs if cluster.primary_of(run_id) is victim}
        victim.kill()

        async def look() -> None:
            async_store = AsyncRunStore(cluster.url)
            try:
                looks = [operations.show(run_id) for run_id in runs]
                answers = await async_store.perform_all(looks)
            finally:
                await async_store.aclose()
            missing = {run for run, a in zip(runs, answers, strict=True) if isinstance(a, StoreUnavailable)}
            assert missing == lost
            hub = Hub(cluster.url, patience=0.5)
            try:
                entries = Subscription(next(iter(set(runs) - lost)), hub=hub)
                assert [entry.seq for entry in await entries.open()] == [1]
                with pytest.raises(StoreUnavailable):
                    await Subscription(next(iter(lost)), hub=hub).open()
            finally:
                await hub.aclose()

        asyncio.run(look())
        well = {run_id for run_id in set(runs) - lost if shard_of(cluster, run_id) is not victim}
        sent: list[str] = []
        sweeper = Sweeper(
            Settings(lease=5), send=lambda unsent: sent.append(unsent.run_id), end=lambda _: None, store=store
        )
        sweeper.sweep()
        assert set(sent) == well
        late = next(iter(well))
        assert isinstance(store.perform(operations.claim(late, claim_id="c", lease=0.01, worker="w")), answers.Claimed)
        until(lambda: late in store.perform(operations.due(99, lease=5)).run_ids, "its lease has run out")
        sweeper.sweep()
        assert store.perform(operations.show(late)).state is State.RUNNING, "its worker gets the chance to be heard"
        for run_id in runs:
            if run_id in lost:
                with pytest.raises(StoreUnavailable):
                    store.perform(operations.show(run_id))
            else:
                assert store.perform(operations.show(run_id)).state in (State.QUEUED, State.RUNNING)


def test_entries_come_over_the_bell_of_the_runs_node_also_when_it_moves(tmp_path: Path) -> None:
    """The timer that looks at logs of silent runs is off; so only the bell can bring what is written later."""

    async def main(cluster: Cluster, writer: Writer) -> None:
        hub = Hub(cluster.url, check=3_600)
        runs = [writer.new() for _ in range(40)]
        readers = [Subscription(run_id, hub=hub) for run_id in runs]
        for reader in readers:
            assert len(await reader.page()) == 2
        assert [len(bells(node)) for node in cluster.primaries] == [1, 1, 1], "one connection to each node"
        for run_id, reader in zip(runs, readers, strict=True):
            writer.write(run_id)
            assert [entry.seq for entry in await reader.page(5)] == [3]
        moving = runs[0]
        source = cluster.primary_of(moving)
        for target in (*(node for node in cluster.primaries if node is not source), source):
            await asyncio.to_thread(cluster.move, moving, target)
            await asyncio.to_thread(until, lambda target=target: subscribed(target, moving), "the reader has followed")
            position = writer.write(moving)
            assert [entry.seq for entry in await readers[0].page(5)] == [position]
        late = writer.new()
        target = next(node for node in cluster.primaries if node is not cluster.primary_of(late))
        await asyncio.to_thread(cluster.move, late, target)
        readers.append(Subscription(late, hub=hub))  # the hub asks the wrong node first
        assert [entry.seq for entry in await readers[-1].page()] == [1, 2]
        await asyncio.to_thread(until, lambda: subscribed(target, late), "the reader has found its node")
        writer.write(late)
        assert [entry.seq for entry in await readers[-1].page(5)] == [3]
        for reader in readers:
            await reader.aclose()
        await asyncio.to_thread(until, lambda: not any(map(channels, cluster.primaries)), "nobody listens any more")
        await hub.aclose()

    with clustered(tmp_path / "cluster") as cluster, contextlib.closing(Writer(cluster.url)) as writer:
        asyncio.run(main(cluster, writer))
        until(lambda: not any(map(bells, cluster.primaries)), "all connections are closed")


def test_readers_of_a_node_that_is_away_are_told_and_the_others_are_not(tmp_path: Path) -> None:
    async def main(cluster: Cluster, writer: Writer) -> None:
        runs = [writer.new() for _ in range(20)]
        victim = cluster.primaries[1]
        well = next(run for run in runs if victim not in (cluster.primary_of(run), shard_of(cluster, run)))
        lost = next(run for run in runs if cluster.primary_of(run) is victim)
        hub = Hub(cluster.url, check=0.05, patience=1)
        going_on, waiting = Subscription(well, hub=hub), Subscription(lost, hub=hub)
        assert len(await going_on.page()) == len(await waiting.page()) == 2
        victim.kill()
        with pytest.raises(StoreUnavailable):
            await waiting.page()
        for position in (3, 4):
            writer.write(well)
            assert [entry.seq for entry in await going_on.page(5)] == [position]
        await going_on.aclose()
        await hub.aclose()

    with clustered(tmp_path / "cluster") as cluster, contextlib.closing(Writer(cluster.url)) as writer:
        for node in cluster.primaries:
            ask(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        asyncio.run(main(cluster, writer))


def shard_of(cluster: Cluster, run_id: str) -> RedisServer:
    """The node that has the run's entry among the deadlines."""
    return cluster.primary_of_key(keys.sharded(keys.DEADLINES, keys.shard(run_id)))


def bells(node: RedisServer) -> list[bytes]:
    """Connections in subscribed state."""
    return list(ask(node, "CLIENT", "LIST", "TYPE", "pubsub").splitlines())


def channels(node: RedisServer) -> list[bytes]:
    return list(ask(node, "PUBSUB", "SHARDCHANNELS"))


def subscribed(node: RedisServer, run_id: str) -> bool:
    return keys.channel(run_id).encode() in channels(node)


def create(run_id: str) -> operations.Operation[object]:
    from noukai_worker.runs import RunRequest

    request = RunRequest.build(flow="acme/demo/hello", message="x")
    limits = {"retention": 60, "pickup": 0.01, "max_attempts": 3, "max_age": 60}
    return operations.create(run_id, request, token="t", max_entries=100, **limits)  # type: ignore[arg-type]
