"""Runs whose end is taken back, read by those who are attached, who come late and who come back; awaiting and blocking."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from noukai_worker.subscriber import Hub, Subscription, subscribe
from tests.support.processes import until

from .conftest import Writer

pytestmark = pytest.mark.integration

WHOLE = ["run.queued", "run.started", "step_output", "run.retrying", "run.started", "step_output", "run.completed"]


async def read(hub: Hub, run_id: str, after: int = 0) -> list[str]:
    async with Subscription(run_id, after=after, hub=hub) as entries:
        return [entry.type async for entry in entries]


def read_blocking(url: str, run_id: str, after: int = 0) -> list[str]:
    return [entry.type for entry in subscribe(run_id, after=after, redis_url=url)]


def attached(url: str, run_id: str, count: int) -> None:
    with redis.Redis.from_url(url) as client:
        until(lambda: client.pubsub_numsub(f"noukai:{{{run_id}}}:events")[0][1] == count, "the readers are attached")


def test_who_is_attached_when_the_end_is_taken_back_never_sees_it(redis_url: str, writer: Writer) -> None:
    run_id = writer.new()

    async def main() -> None:
        hub = Hub(redis_url)
        with ThreadPoolExecutor() as threads:
            blocking = asyncio.get_running_loop().run_in_executor(threads, read_blocking, redis_url, run_id)
            readers = [asyncio.create_task(read(hub, run_id)) for _ in range(3)]
            slow = Subscription(run_id, hub=hub)
            assert [entry.seq for entry in await slow.open()] == [1, 2]
            await asyncio.to_thread(attached, redis_url, run_id, 2)
            writer.write(run_id)
            writer.fail_and_redrive(run_id)
            writer.write(run_id)
            late = asyncio.create_task(read(hub, run_id, after=3))
            writer.end(run_id)
            assert [entry.type async for entry in slow] == WHOLE[2:]
            assert await late == WHOLE[3:]
            for seen in [*await asyncio.gather(*readers), await blocking]:
                assert seen == WHOLE
        assert hub.idle
        await hub.aclose()

    asyncio.run(main())


def test_who_has_seen_the_end_goes_on_behind_it(redis_url: str, writer: Writer) -> None:
    run_id = writer.new()
    writer.write(run_id)
    failed = writer.fail(run_id)

    async def main() -> None:
        hub = Hub(redis_url)
        seen = Subscription(run_id, hub=hub)
        assert [entry.type async for entry in seen][-1] == "run.failed"
        assert (seen.ended, seen.position) == (True, failed)
        assert await read(hub, run_id, after=failed) == [], "it has ended, as far as anybody knows"
        writer.redrive(run_id)
        back = [asyncio.create_task(read(hub, run_id, after=failed)) for _ in range(2)]
        writer.write(run_id)
        writer.end(run_id)
        assert await asyncio.gather(*back) == [WHOLE[4:]] * 2
        assert await read(hub, run_id) == WHOLE
        await hub.aclose()

    asyncio.run(main())
    assert read_blocking(redis_url, run_id, after=failed) == WHOLE[4:]
    assert read_blocking(redis_url, run_id, after=failed - 1) == WHOLE[3:]
