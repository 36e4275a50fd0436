from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import fakeredis
import pytest
import redis

from noukai_worker.runs import RunStore
from tests.support.cluster import AsOneServer, Cluster, clustered
from tests.support.leaks import immortal
from tests.support.processes import RedisServer


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with clustered(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(params=["fake", "real", "cluster"])
def client(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """Every script runs on fakeredis, on a real server and on a real cluster."""
    if request.param == "fake":
        made: redis.Redis = fakeredis.FakeRedis()
    elif request.param == "real":
        made = redis.Redis.from_url(request.getfixturevalue("real_server").url)
    else:
        made = AsOneServer(request.getfixturevalue("real_cluster").url)  # type: ignore[assignment]
    with contextlib.closing(made):
        made.flushall()
        yield made
        assert immortal(made) == [], os.environ.get("PYTEST_CURRENT_TEST")


@pytest.fixture
def store(client: redis.Redis, request: pytest.FixtureRequest) -> Iterator[RunStore]:
    if isinstance(client, AsOneServer):
        with contextlib.closing(RunStore(request.getfixturevalue("real_cluster").url)) as store:
            yield store
    else:
        yield RunStore("redis://unused", client=client)
