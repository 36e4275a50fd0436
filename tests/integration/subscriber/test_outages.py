from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable

import pytest
import redis

from noukai_worker.errors import EntriesTrimmed, PositionAhead, RunExpired, RunNotFound, StoreUnavailable
from noukai_worker.subscriber import Hub, Subscription, subscribe
from tests.support.processes import RedisServer, free_port, until

from .conftest import Link, Writer

pytestmark = pytest.mark.integration

NEVER = 1_000.0


async def take(subscription: Subscription, count: int) -> list[int]:
    """The next `count` seqs; what comes with them is kept for the next call."""
    seen: list[int] = []
    while len(seen) < count:
        async with asyncio.timeout(20):
            seen += [entry.seq for entry in await subscription.page()]
    assert len(seen) == count
    return seen


async def rest(subscription: Subscription) -> list[int]:
    async with asyncio.timeout(20):
        return [entry.seq async for entry in subscription]


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another process meets it
            await asyncio.sleep(0.005)


def test_what_is_written_before_a_late_subscription_is_looked_up_when_it_comes(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        async with Link(redis_url) as link:
            link.open.clear()
            hub, run_id = Hub(link.url, check=NEVER), writer.new()
            async with Subscription(run_id, hub=hub) as entries:
                assert await take(entries, 2) == [1, 2]  # from the log alone, after waiting in vain for a confirmation
                last = await asyncio.to_thread(writer.write, run_id, 3)
                await asyncio.to_thread(writer.end, run_id)
                link.open.set()
                assert await rest(entries) == [*range(3, last + 2)]
            await hub.aclose()

    run(main)


def test_the_pubsub_connection_is_killed_in_the_middle(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url, check=NEVER), writer.new()
        killer = redis.Redis.from_url(redis_url)

        def write() -> None:
            for n in range(300):
                writer.write(run_id)
                if n % 30 == 0:
                    killer.client_kill_filter(_type="pubsub")
            writer.end(run_id)

        readers = [asyncio.create_task(rest(Subscription(run_id, hub=hub))) for _ in range(10)]
        blocking = asyncio.to_thread(lambda: [entry.seq for entry in subscribe(run_id, redis_url=redis_url)])
        _, blocked, *seen = await asyncio.gather(asyncio.to_thread(write), blocking, *readers)
        assert [blocked, *seen] == [[*range(1, 304)]] * 11
        killer.close()
        await hub.aclose()

    run(main)


def test_a_bell_that_died_silently_is_made_good_by_the_timer(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url, check=0.1), writer.new()
        with redis.Redis.from_url(redis_url) as client:
            async with Subscription(run_id, hub=hub) as entries:
                assert await take(entries, 2) == [1, 2]
                hub._lines[None]._say("UNSUBSCRIBE", f"noukai:{{{run_id}}}:events".encode())
                await soon(lambda: client.pubsub_channels() == [])
                writer.write(run_id)
                assert await take(entries, 1) == [3]
                writer.end(run_id)
                assert await rest(entries) == [4]
        await hub.aclose()

    run(main)


def test_a_connection_that_brings_nothing_and_does_not_break_is_replaced(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        async with Link(redis_url) as link:
            hub, run_id = Hub(link.url, check=0.1), writer.new()
            async with Subscription(run_id, hub=hub) as entries:
                assert await take(entries, 2) == [1, 2]
                link.swallow()
                writer.write(run_id)
                assert await take(entries, 1) == [3]
                await soon(lambda: link.subscriptions == 2)
                writer.end(run_id)
                assert await rest(entries) == [4]
            await hub.aclose()

    run(main)


def test_a_reader_that_lags_goes_back_to_the_log_and_holds_no_memory(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url, buffer=10, check=NEVER), writer.new()
        async with Subscription(run_id, hub=hub) as slow, Subscription(run_id, hub=hub) as quick:
            assert await take(slow, 2) == await take(quick, 2)
            for _ in range(50):
                await asyncio.to_thread(writer.write, run_id, 20)
            await asyncio.to_thread(writer.end, run_id)
            assert await rest(quick) == [*range(3, 1_004)]
            (topic,) = hub._topics.values()
            assert len(topic.window) <= 10
            assert await rest(slow) == [*range(3, 1_004)]
        await hub.aclose()

    run(main)


def test_big_entries_come_in_small_pages(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url), writer.new()
        for _ in range(30):
            writer.write(run_id, 10, size=50_000)
        writer.end(run_id)
        sizes = []
        async with Subscription(run_id, after=20, hub=hub) as entries:
            while not entries.ended:
                sizes.append(len(await entries.page()))
        assert sum(sizes) == 303 - 20
        assert max(sizes[1:]) <= 6
        await hub.aclose()

    run(main)


@pytest.mark.parametrize("pause", [0.0, 3.0])
def test_readers_survive_a_restart_of_the_server(own_server: RedisServer, pause: float) -> None:
    writer = Writer(own_server.url)

    async def main() -> None:
        hub, run_id = Hub(own_server.url, check=0.5), writer.new()
        following = Subscription(run_id, hub=hub)
        got: list[int] = []

        async def follow() -> None:
            got.extend([entry.seq async for entry in following])

        blocked: list[int] = []
        thread = threading.Thread(
            target=lambda: blocked.extend(e.seq for e in subscribe(run_id, redis_url=own_server.url))
        )
        thread.start()
        reader = asyncio.create_task(follow())
        writer.write(run_id, 5)
        await soon(lambda: following.position == 7 and len(blocked) == 7)
        await asyncio.to_thread(own_server.stop)
        await asyncio.sleep(pause)  # the outage itself
        await asyncio.to_thread(own_server.start)
        await asyncio.to_thread(writer.write, run_id, 5)
        await asyncio.to_thread(writer.end, run_id)
        async with asyncio.timeout(30):
            await reader
        await asyncio.to_thread(thread.join)
        assert got == blocked == [*range(1, 14)]
        await hub.aclose()

    run(main)
    writer.store.close()


def test_patience_ends(own_server: RedisServer) -> None:
    writer = Writer(own_server.url)

    async def main() -> None:
        hub, run_id = Hub(own_server.url, check=0.1, patience=0.5), writer.new()
        async with Subscription(run_id, hub=hub) as entries:
            await take(entries, 2)
            await asyncio.to_thread(own_server.stop)
            with pytest.raises(StoreUnavailable, match="start one, or set NOUKAI_REDIS_URL"):
                await take(entries, 1)
        await hub.aclose()

    run(main)
    writer.store.close()


def test_no_server_is_told_soon() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"

    async def main() -> None:
        hub = Hub(url, patience=0.2)
        with pytest.raises(StoreUnavailable):
            await rest(Subscription("some-run", hub=hub))
        await hub.aclose()

    run(main)


def both_ways(url: str, run_id: str, after: int = 0) -> list[list[int] | Exception]:
    """What `for` and `async for` give, or raise."""
    outcomes: list[list[int] | Exception] = []

    async def arun() -> list[int]:
        return [entry.seq async for entry in subscribe(run_id, after=after, redis_url=url)]

    for way in (
        lambda: [entry.seq for entry in subscribe(run_id, after=after, redis_url=url)],
        lambda: asyncio.run(arun()),
    ):
        try:
            outcomes.append(way())
        except Exception as error:
            outcomes.append(error)
    return outcomes


def test_what_cannot_be_given_is_said(redis_url: str, writer: Writer) -> None:
    short = writer.new()
    for error in both_ways(redis_url, "nobody"):
        assert isinstance(error, RunNotFound)
    for error in both_ways(redis_url, short, after=9):
        assert isinstance(error, PositionAhead)
        assert error.last == 2

    long = writer.new(max_entries=100)
    for _ in range(10):
        writer.write(long, 100)
    writer.end(long)
    for error in both_ways(redis_url, long):
        assert isinstance(error, EntriesTrimmed)
        assert both_ways(redis_url, long, after=error.first - 1) == [[*range(error.first, 1_004)]] * 2


def test_a_run_that_expires_while_it_is_read_is_said_to_have_expired(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url, check=0.1), writer.new()
        async with Subscription(run_id, hub=hub) as entries:
            await take(entries, 2)
            with redis.Redis.from_url(redis_url) as client:
                client.delete(f"noukai:{{{run_id}}}:run", f"noukai:{{{run_id}}}:log")
            with pytest.raises(RunExpired):
                await take(entries, 1)
        await hub.aclose()

    run(main)


def test_a_log_that_lost_its_end_is_said_to_be_shorter(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url, check=0.1), writer.new()
        async with Subscription(run_id, hub=hub) as entries:
            await take(entries, 2)
            with redis.Redis.from_url(redis_url) as client:
                client.xdel(f"noukai:{{{run_id}}}:log", "2-0")
                client.hset(f"noukai:{{{run_id}}}:run", "seq", 1)
            with pytest.raises(PositionAhead):
                await take(entries, 1)
        await hub.aclose()

    run(main)


def test_an_unreadable_message_sends_readers_to_the_log(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url, check=NEVER), writer.new()
        with redis.Redis.from_url(redis_url) as client:
            async with Subscription(run_id, hub=hub) as entries:
                await take(entries, 2)
                client.publish(f"noukai:{{{run_id}}}:events", "rubbish")
                writer.end(run_id)
                assert await rest(entries) == [3]
        await hub.aclose()

    run(main)


def test_a_finished_run_gives_what_is_left_and_ends(redis_url: str, writer: Writer) -> None:
    run_id = writer.new()
    last = writer.end(run_id)
    assert both_ways(redis_url, run_id) == [[1, 2, 3]] * 2
    assert both_ways(redis_url, run_id, after=last) == [[]] * 2


def connections(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return len(client.client_list()) - 1


def test_leaving_a_loop_leaves_nothing_behind(redis_url: str, writer: Writer) -> None:
    run_id = writer.new()
    writer.store.close()
    before = connections(redis_url)

    async def main() -> None:
        async for entry in subscribe(run_id, redis_url=redis_url):
            assert entry.seq == 1
            break
        await soon(lambda: len(asyncio.all_tasks()) == 1)
        async with subscribe(run_id, redis_url=redis_url) as entries:
            async for entry in entries:
                if entry.seq == 2:
                    break
        assert len(asyncio.all_tasks()) == 1
        await soon(lambda: connections(redis_url) == before)
        async for _ in subscribe(run_id, redis_url=redis_url):
            break  # and the loop is closed at once

    asyncio.run(main(), debug=True)
    for _ in subscribe(run_id, redis_url=redis_url):
        break
    with subscribe(run_id, redis_url=redis_url) as entries:
        assert next(iter(entries)).seq == 1
    gc.collect()  # a resource that was left open warns now, and that fails the test
    until(lambda: connections(redis_url) == before, "connections are closed")


def test_one_connection_serves_all_readers_of_a_loop(redis_url: str, writer: Writer) -> None:
    runs = [writer.new() for _ in range(5)]

    async def main() -> None:
        with redis.Redis.from_url(redis_url) as client:
            readers = [asyncio.create_task(rest(subscribe(run, redis_url=redis_url))) for run in runs * 20]
            await soon(lambda: sum(n for _, n in client.pubsub_numsub(*client.pubsub_channels())) == 5)
            assert len([c for c in client.client_list() if c["sub"] != "0"]) == 1
            for run_id in runs[1:]:
                writer.end(run_id)
            await soon(lambda: len(client.pubsub_channels()) == 1)
            writer.end(runs[0])
            assert await asyncio.gather(*readers) == [[1, 2, 3]] * 100
            assert client.pubsub_channels() == []
        assert len(asyncio.all_tasks()) == 1

    run(main)


def test_a_loop_that_was_left_goes_on_where_it_stopped(redis_url: str, writer: Writer) -> None:
    run_id = writer.new()
    writer.write(run_id, 3)
    writer.end(run_id)

    async def main() -> None:
        entries = subscribe(run_id, redis_url=redis_url)
        async for entry in entries:
            if entry.seq == 2:
                break
        assert entries.position == 2
        assert await rest(entries) == [3, 4, 5, 6]
        assert await rest(entries) == []

    run(main)
    entries = subscribe(run_id, redis_url=redis_url)
    for entry in entries:
        if entry.seq == 4:
            break
    assert [entry.seq for entry in entries] == [5, 6]
    assert list(entries) == []


def test_closing_a_hub_does_not_look_like_an_end(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url), writer.new()
        reader = asyncio.create_task(rest(Subscription(run_id, hub=hub)))
        await soon(lambda: not hub.idle)
        await hub.aclose()
        with pytest.raises(StoreUnavailable, match="closed"):
            await reader

    run(main)


def test_a_hub_that_breaks_down_tells_its_readers(
    redis_url: str, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        hub, run_id = Hub(redis_url), writer.new()
        reader = asyncio.create_task(rest(Subscription(run_id, hub=hub)))
        await soon(lambda: not hub.idle)
        hub._next_suspects = broken  # type: ignore[method-assign, assignment]
        hub._to_look.set()
        with pytest.raises(StoreUnavailable):
            await reader
        with pytest.raises(StoreUnavailable):
            await rest(Subscription(run_id, hub=hub))
        await hub.aclose()

    run(main)
    assert "the hub broke down" in caplog.text


def test_a_cancelled_reader_leaves_others_alone(redis_url: str, writer: Writer) -> None:
    async def main() -> None:
        hub, run_id = Hub(redis_url, check=NEVER), writer.new()
        readers = [asyncio.create_task(rest(Subscription(run_id, hub=hub))) for _ in range(30)]
        for n, reader in enumerate(readers[:20]):
            for _ in range(n):
                await asyncio.sleep(0)
            reader.cancel()
        writer.end(run_id)
        seen = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in seen[:20])
        assert seen[20:] == [[1, 2, 3]] * 10
        seen.clear()  # their tracebacks hold the subscriptions, which let go when they are dropped
        readers.clear()
        del reader
        await soon(lambda: hub.idle)
        await hub.aclose()

    run(main)
