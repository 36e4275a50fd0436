"""Readers of runs that a real streaming worker works on: whenever they come, leave and come back, they get every entry once."""

from __future__ import annotations

import asyncio
import random

import pytest

from noukai_worker import enqueue
from noukai_worker.subscriber import Hub, Subscription
from tests.integration.conftest import House

pytestmark = pytest.mark.integration
ATTACHES, RUNS = 1_000, 50


def test_a_thousand_attaches_to_fifty_running_streams(house: House) -> None:
    house.worker("stream")
    parameters = {"steps": 3, "events": 40, "interval": 0.04, "bytes": 60}
    runs = [enqueue("acme/demo/load", message=f"{n}", parameters=parameters).id for n in range(RUNS)]
    chance = random.Random(7)

    async def read(hub: Hub, run_id: str, delay: float, leave_after: int | None) -> list[int]:
        await asyncio.sleep(delay)  # the moment of the attach is what is tried
        seqs: list[int] = []
        while True:
            async with Subscription(run_id, after=seqs[-1] if seqs else 0, hub=hub) as entries:
                async for entry in entries:
                    seqs.append(entry.seq)
                    if entry.terminal:
                        return seqs
                    if leave_after and len(seqs) % leave_after == 0:
                        break
                else:
                    return seqs

    async def main() -> list[tuple[str, list[int]]]:
        hub = Hub(house.settings.redis_url)
        try:
            plans = [
                (chance.choice(runs), chance.uniform(0, 6), chance.choice([None, None, 7, 40])) for _ in range(ATTACHES)
            ]
            seen = await asyncio.gather(*(read(hub, *plan) for plan in plans))
            return [(plan[0], seqs) for plan, seqs in zip(plans, seen, strict=True)]
        finally:
            await hub.aclose()

    for run_id, seqs in asyncio.run(main()):
        assert seqs == [entry.seq for entry in house.log(run_id)]
