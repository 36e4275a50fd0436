from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import fakeredis
import pytest
import redis

from noukai_worker.runs import RunStore
from tests.support.leaks import immortal
from tests.support.processes import RedisServer


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["fake", "real"])
def client(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """Every script runs on fakeredis and on a real server."""
    if request.param == "fake":
        made: redis.Redis = fakeredis.FakeRedis()
    else:
        made = redis.Redis.from_url(request.getfixturevalue("real_server").url)
    with contextlib.closing(made):
        made.flushall()
        yield made
        assert immortal(made) == [], os.environ.get("PYTEST_CURRENT_TEST")


@pytest.fixture
def store(client: redis.Redis) -> RunStore:
    return RunStore("redis://unused", client=client)
