from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest

from noukai_worker.subscriber import Hub, Subscription, subscribe

from .conftest import Link, Writer

pytestmark = pytest.mark.integration

RUNS, ATTACHES, HUBS, BLOCKING = 50, 1_000, 20, 60


class Moments:
    """Lets readers start when the writer has come to a certain point."""

    def __init__(self, points: list[int]) -> None:
        self.reached = {point: asyncio.Event() for point in points}

    def progress(self, written: int) -> None:
        for point in [point for point in self.reached if point <= written]:
            self.reached.pop(point).set()


async def read_in_parts(attach: Callable[[int], Subscription], after: int, chance: random.Random) -> list[int]:
    """Follow a run to its end, now and then leaving and coming back with the position."""
    seen: list[int] = []
    position = after
    while True:
        leave_after = chance.choice((None, None, chance.randrange(1, 40)))
        async with attach(position) as entries:
            async for entry in entries:
                seen.append(entry.seq)
                position = entry.seq
                if leave_after is not None and len(seen) % leave_after == 0:
                    break
            if entries.ended:
                return seen


def test_no_attach_loses_or_doubles_an_entry(redis_url: str, writer: Writer) -> None:
    chance = random.Random(1)
    lengths = {writer.new(): chance.randrange(30, 90) for _ in range(RUNS)}
    total = sum(lengths.values())
    starts = [chance.randrange(total + 1) for _ in range(ATTACHES)]
    hub_attaches = [(chance.choice(list(lengths)), start) for start in starts]

    async def main(link: Link, check: float) -> None:
        moments = Moments([*starts])
        loop = asyncio.get_running_loop()
        hubs = [Hub(link.url, buffer=50, check=check) for _ in range(HUBS)]

        async def reader(hub: Hub, run_id: str, start: int) -> None:
            if start in moments.reached:
                await moments.reached[start].wait()
            last = lengths[run_id] + 3  # queued, started, completed
            after = random.Random(start).choice((0, 0, 1, 2))
            seen = await read_in_parts(lambda after: Subscription(run_id, after=after, hub=hub), after, chance)
            assert seen == list(range(after + 1, last + 1))

        def blocking(run_id: str) -> None:
            assert [entry.seq for entry in subscribe(run_id, redis_url=redis_url)] == list(
                range(1, lengths[run_id] + 4)
            )

        threads = ThreadPoolExecutor(BLOCKING)
        blocked = [loop.run_in_executor(threads, blocking, run_id) for run_id, _ in hub_attaches[:BLOCKING]]
        readers = [
            asyncio.create_task(reader(hub, run_id, start))
            for hub, (run_id, start) in zip(cycle(hubs), hub_attaches, strict=False)
        ]
        writing = threading.Thread(
            target=writer.write_all,
            args=(lengths, lambda written: loop.call_soon_threadsafe(moments.progress, written)),
        )
        writing.start()
        async with asyncio.timeout(30):
            await asyncio.gather(*readers, *blocked)
        await asyncio.to_thread(writing.join)
        threads.shutdown()
        for hub in hubs:
            assert hub.idle
            await hub.aclose()

    async def over_a_late_link() -> None:
        # SUBSCRIBE arrives late, and no timer repairs what was missed: the join alone must hold.
        async with Link(redis_url) as link:
            link.delay = 0.2
            await main(link, check=1_000.0)

    asyncio.run(over_a_late_link())
