"""Trips of threads: connections are kept, bounded, tried again when they turn out closed, and never read by somebody else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import hiredis
import pytest
import redis

from noukai_worker.errors import StoreUnavailable
from noukai_worker.redis_url import RedisUrl
from noukai_worker.runs import RunStore, State, connections, operations
from noukai_worker.runs.trips import ThreadTrips
from tests.support.processes import RedisServer

from .words import create


@pytest.fixture
def store(real_server: RedisServer) -> Iterator[RunStore]:
    with contextlib.closing(RunStore(real_server.url, answer_within=0.5)) as store:
        yield store


@pytest.fixture
def client(real_server: RedisServer) -> Iterator[redis.Redis]:
    with contextlib.closing(redis.Redis.from_url(real_server.url)) as client:
        client.flushall()
        yield client


def state(store: RunStore, run_id: str = "r") -> State:
    return store.perform(operations.show(run_id)).state


def others(client: redis.Redis) -> list[str]:
    own = str(client.client_id())
    return [known["id"] for known in client.client_list() if known["id"] != own]


def test_a_connection_is_kept(store: RunStore, client: redis.Redis) -> None:
    create(store)
    (first,) = others(client)
    for _ in range(3):
        assert state(store) is State.QUEUED
    assert others(client) == [first]


def test_a_connection_that_was_closed_while_idle_is_opened_again(store: RunStore, client: redis.Redis) -> None:
    create(store)
    for known in others(client):
        client.client_kill_filter(_id=known)
    assert state(store) is State.QUEUED


def test_an_answer_that_comes_too_late_is_nobody_elses(store: RunStore, client: redis.Redis) -> None:
    create(store, "a")
    create(store, "b")
    store.perform(operations.cancel("b"))
    client.client_pause(timeout=60_000, all=False)
    with pytest.raises(StoreUnavailable):
        state(store, "a")
    client.client_unpause()
    assert state(store, "b") is State.CANCELLED


def test_there_are_never_more_connections_than_said(real_server: RedisServer, client: redis.Redis) -> None:
    pool = connections.pool(RedisUrl.parse(real_server.url), max_connections=3, timeout=0.1)
    trips = ThreadTrips(pool, 3, 5.0)
    with contextlib.closing(trips), ThreadPoolExecutor(24) as threads:
        for future in [threads.submit(trips.ping) for _ in range(500)]:
            future.result()
        assert 1 <= len(others(client)) <= 3


def test_who_finds_no_connection_free_is_told(real_server: RedisServer) -> None:
    trips = ThreadTrips(connections.pool(RedisUrl.parse(real_server.url), max_connections=1), 1, 0.05)
    with contextlib.closing(trips):
        with trips._connection(), pytest.raises(redis.exceptions.ConnectionError, match="in use"):
            trips.ping()
        trips.ping()


def test_who_is_interrupted_leaves_no_answer_behind(real_server: RedisServer) -> None:
    trips = ThreadTrips(connections.pool(RedisUrl.parse(real_server.url), max_connections=1), 1, 5.0)
    with contextlib.closing(trips):
        with contextlib.suppress(KeyboardInterrupt), trips._connection() as connection:
            connection.send_command("ECHO", "another's")
            raise KeyboardInterrupt
        assert trips._trip([hiredis.pack_command(("ECHO", "own"))]) == [b"own"]


def test_a_forked_child_has_connections_of_its_own(store: RunStore) -> None:
    create(store)
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            code = 0 if all(state(store) is State.QUEUED for _ in range(200)) else 1
        os._exit(code)
    assert all(state(store) is State.QUEUED for _ in range(200))
    assert os.waitpid(child, 0)[1] == 0
