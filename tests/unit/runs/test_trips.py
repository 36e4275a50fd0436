"""Trips: connections are kept, bounded, tried again when they turn out closed, and never read by somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hiredis
import pytest
import redis

from noukai_worker.errors import StoreUnavailable
from noukai_worker.redis_url import RedisUrl
from noukai_worker.runs import AsyncRunStore, RunStore, State, connections, operations
from noukai_worker.runs.trips import ThreadTrips, Trips, _Patience
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


def awaiting(
    server: RedisServer, what: Callable[[AsyncRunStore], Coroutine[Any, Any, None]], answer_within: float = 0.5
) -> None:
    async def main() -> None:
        async with contextlib.aclosing(AsyncRunStore(server.url, answer_within=answer_within)) as store:
            await what(store)

    asyncio.run(main())


async def seen(store: AsyncRunStore, run_id: str = "r") -> State:
    return (await store.perform(operations.show(run_id))).state


def test_an_event_loop_keeps_its_connection(real_server: RedisServer, store: RunStore, client: redis.Redis) -> None:
    create(store)
    own = set(others(client))

    async def what(store: AsyncRunStore) -> None:
        assert await seen(store) is State.QUEUED
        (kept,) = set(others(client)) - own
        for _ in range(3):
            assert await seen(store) is State.QUEUED
        assert set(others(client)) - own == {kept}

    awaiting(real_server, what)


def test_an_event_loop_opens_a_connection_again_that_was_closed_while_idle(
    real_server: RedisServer, store: RunStore, client: redis.Redis
) -> None:
    create(store)

    async def what(store: AsyncRunStore) -> None:
        assert await seen(store) is State.QUEUED
        for known in others(client):
            client.client_kill_filter(_id=known)
        assert await seen(store) is State.QUEUED

    awaiting(real_server, what)


def test_an_answer_that_comes_too_late_is_nobody_elses_in_an_event_loop(
    real_server: RedisServer, store: RunStore, client: redis.Redis
) -> None:
    create(store, "a")
    create(store, "b")
    store.perform(operations.cancel("b"))

    async def what(store: AsyncRunStore) -> None:
        client.client_pause(timeout=60_000, all=False)
        with pytest.raises(StoreUnavailable):
            await seen(store, "a")
        client.client_unpause()
        assert await seen(store, "b") is State.CANCELLED

    awaiting(real_server, what)


def test_who_is_interrupted_in_an_event_loop_leaves_no_answer_behind(
    real_server: RedisServer, store: RunStore, client: redis.Redis
) -> None:
    create(store, "a")
    create(store, "b")
    store.perform(operations.cancel("b"))

    async def what(store: AsyncRunStore) -> None:
        assert await seen(store, "a") is State.QUEUED
        client.client_pause(timeout=60_000, all=False)
        asking = asyncio.create_task(seen(store, "a"))
        while not any(known["cmd"] == "evalsha" and "b" in known["flags"] for known in client.client_list()):  # noqa: ASYNC110 - the server tells
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        client.client_unpause()
        assert await seen(store, "b") is State.CANCELLED

    awaiting(real_server, what, answer_within=60.0)


def test_an_event_loop_never_opens_more_connections_than_said(real_server: RedisServer, client: redis.Redis) -> None:
    async def main() -> None:
        pool = connections.async_pool(RedisUrl.parse(real_server.url), max_connections=3)
        async with contextlib.aclosing(Trips(pool, 3, 5.0)) as trips:
            trip = trips._trip([hiredis.pack_command(("PING",))])
            assert await trip == [b"PONG"]
            await asyncio.gather(*(trips._trip([hiredis.pack_command(("PING",))]) for _ in range(500)))
            assert len(others(client)) == 3

    asyncio.run(main())


def test_a_connection_with_unread_answers_is_given_up() -> None:
    """A server that loads its data says so in each answer, and redis-py raises that without closing."""

    class Loading:
        def __init__(self) -> None:
            self.calls: list[str] = []

        async def send_packed_command(self, packed: bytes) -> None:
            self.calls.append("send")

        async def read_response(self) -> None:
            raise redis.exceptions.BusyLoadingError("loading")

        async def connect(self) -> None:
            self.calls.append("connect")

        async def disconnect(self, nowait: bool) -> None:
            self.calls.append("disconnect")

        async def get_connection(self) -> Loading:
            return self

        async def release(self, connection: Loading) -> None:
            self.calls.append("release")

    async def main() -> list[str]:
        pool = Loading()
        trips = Trips(pool, 1, 5.0)
        with pytest.raises(redis.exceptions.BusyLoadingError):
            await trips._trip([b"one", b"two"])
        assert trips._free == []
        return pool.calls

    assert asyncio.run(main()) == ["send", "disconnect", "connect", "send", "disconnect", "release"]


def test_only_what_has_heard_nothing_for_long_is_ended_and_one_timer_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        now, timers, ended = [100.0], [], []
        monkeypatch.setattr(loop, "time", lambda: now[0])
        monkeypatch.setattr(loop, "call_at", lambda when, *_: timers.append(when))
        monkeypatch.setattr(loop, "call_later", lambda delay, *_: timers.append(now[0] + delay) or True)

        class Limit:
            def reschedule(self, when: float) -> None:
                assert when == now[0]
                ended.append(self)

        silent, moving, brief = limits = [Limit() for _ in range(3)]
        patience = _Patience(10)
        for limit in limits:
            patience.begin(limit)  # type: ignore[arg-type]
        now[0] = 104.0
        patience.begin(moving)  # type: ignore[arg-type]
        patience.end(brief)  # type: ignore[arg-type]
        now[0] = 110.0
        patience._look(loop)
        assert ended == [silent]
        now[0] = 114.0
        patience._look(loop)
        assert ended == [silent, moving]
        assert timers == [110.0, 114.0]

    asyncio.run(main())
