from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import _state
from kombu import pools

from noukai_sdk.testing import FlowServer
from noukai_sdk.testing.pytest_plugin import Servers
from noukai_worker.runs import Entry, RunStore, RunView, operations, shared
from noukai_worker.settings import Settings, adopt
from noukai_worker.tasks import app as apps
from noukai_worker.tasks import conf, rabbitmq
from tests.support.cluster import CLUSTER, AsOneServer, Cluster, clustered
from tests.support.leaks import immortal
from tests.support.processes import RedisServer, Worker, until
from tests.support.rabbitmq import RabbitServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with clustered(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def redis_url(redis_server: RedisServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty real server, or cluster if NOUKAI_TEST_SERVER says so; afterwards no key of ours may be immortal."""
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        client.flushall()
        if CLUSTER:
            url = request.getfixturevalue("redis_cluster").url
            with contextlib.closing(AsOneServer(url)) as cluster:
                cluster.flushall()
                yield url
                assert immortal(cluster) == []
        else:
            yield redis_server.url
            assert immortal(client) == []


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    server = RabbitServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> str | None:
    """The broker that NOUKAI_TEST_BROKER names: `rabbitmq`, with empty queues; else that of the runs (None)."""
    named = os.environ.get("NOUKAI_TEST_BROKER", "redis")
    assert named in ("redis", "rabbitmq"), f"NOUKAI_TEST_BROKER={named}: redis or rabbitmq"
    if named == "redis":
        return None
    server: RabbitServer = request.getfixturevalue("rabbit_server")
    server.delete_queues(conf.EXECUTE_QUEUE, conf.STREAM_QUEUE)
    return server.url


@pytest.fixture(scope="session")
def flow_server_process(noukai_servers: Servers) -> FlowServer:
    return noukai_servers()


@pytest.fixture
def flow_server(noukai_server: FlowServer) -> FlowServer:
    return noukai_server


@dataclass
class House:
    """A whole installation: stores, a flow server, workers on demand; this process is the enqueuer."""

    settings: Settings
    flow_server: FlowServer
    folder: Path
    store: RunStore
    workers: list[Worker] = field(default_factory=list)

    def worker(self, kind: str, **env: str) -> Worker:
        worker = Worker(kind, self.folder, self.env | env)
        self.workers.append(worker)
        worker.start()
        return worker

    @property
    def env(self) -> dict[str, str]:
        broker = {"NOUKAI_BROKER_URL": self.settings.broker_url} if self.settings.broker_url else {}
        return {
            "NOUKAI_REDIS_URL": self.settings.redis_url,
            **broker,
            **self.flow_server.env,
            "NOUKAI_WORKER_BACKOFF_BASE": "0.2",
        }

    def view(self, run_id: str) -> RunView:
        return self.store.perform(operations.show(run_id))

    def log(self, run_id: str) -> tuple[Entry, ...]:
        """The run's whole log, proved to be numbered 1 … n."""
        page = self.store.perform(operations.read(run_id, after=0, limit=100_000))
        assert [entry.seq for entry in page.entries] == list(range(1, page.last + 1))
        assert not any(entry.terminal for entry in page.entries[:-1])
        return page.entries

    def types(self, run_id: str) -> list[str]:
        return [entry.type for entry in self.log(run_id)]

    def wait(self, *run_ids: str, within: float = 60.0) -> list[RunView]:
        """Until all have ended."""
        waiting = list(run_ids)

        def ended() -> bool:
            waiting[:] = [run_id for run_id in waiting if not self.view(run_id).state.terminal]
            return not waiting

        try:
            until(ended, f"{len(run_ids)} runs end", within=within)
        except AssertionError as error:
            logs = "\n".join(worker.output()[-3000:] for worker in self.workers)
            raise AssertionError(f"{error}; {[self.view(run_id) for run_id in waiting[:3]]}\n{logs}") from None
        return [self.view(run_id) for run_id in run_ids]


@pytest.fixture
def house(
    redis_url: str,
    redis_server: RedisServer,
    broker_url: str | None,
    flow_server: FlowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[House]:
    for name in ("NOUKAI_API_KEY", "NOUKAI_ENV", "NOUKAI_BROKER_URL", "NOUKAI_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    broker = broker_url or (redis_server.url if CLUSTER else None)
    settings = Settings(redis_url=redis_url, broker_url=broker, base_url=flow_server.base_url)
    with installed(settings, flow_server, tmp_path) as house:
        yield house


@contextlib.contextmanager
def installed(settings: Settings, flow_server: FlowServer, folder: Path) -> Iterator[House]:
    """A house with these settings; its workers are stopped in the end."""
    with _enqueuing(settings), contextlib.closing(RunStore(settings.redis_url)) as store:
        house = House(settings, flow_server, folder, store)
        yield house
        for worker in house.workers:
            if worker.alive:
                worker.resume()  # a stopped process hears nothing
            worker.stop()


@contextlib.contextmanager
def _enqueuing(settings: Settings) -> Iterator[Any]:
    app = apps.build(settings)
    apps.configure(app, settings)
    app.set_current()
    yield app
    gc.collect()  # Celery's results unsubscribe when they are collected; their app must still be there
    _state._tls.current_app = None
    if app.conf.result_backend:
        if app.backend.result_consumer._pubsub:
            app.backend.result_consumer.stop()
        app.backend.client.close()
    rabbitmq.close(app)
    app.close()
    pools.reset()  # another app's connections would believe that queues are still there
    shared(settings.redis_url).close()
    shared.cache_clear()
    apps._configured.clear()
    adopt(None)
