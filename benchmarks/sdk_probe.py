"""One measurement for `benchmarks.sdk`, by whichever `noukai_sdk` its interpreter has: one JSON line.

What is imported and opened with the first call is paid before the clock starts, except where that is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
from concurrent.futures import ThreadPoolExecutor

from noukai_sdk import AsyncNoukai, Noukai

KEY = "nk_test_benchmark"


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def construct(_: str, count: int) -> tuple[float, int]:
    Noukai(KEY, env="dev").close()
    used = cpu()
    for _ in range(count):
        Noukai(KEY, env="dev")
    return cpu() - used, count


def sync_events(flow: str, count: int) -> tuple[float, int]:
    def play() -> int:
        return sum(1 for _ in target.events(message="x", run_remaining=True))

    with Noukai(KEY, env="dev") as client:
        target = client.flow(f"bench/sdk/{flow}")
        play()
        used = cpu()
        events = sum(play() for _ in range(count))
        return cpu() - used, events


def async_events(flow: str, count: int, at_once: int = 1) -> tuple[float, int]:
    async def play(client: AsyncNoukai) -> int:
        events = 0
        async for _ in client.flow(f"bench/sdk/{flow}").events(message="x", run_remaining=True):
            events += 1
        return events

    async def main() -> tuple[float, int]:
        async with AsyncNoukai(KEY, env="dev") as client:
            await play(client)
            used, events = cpu(), 0
            for _ in range(0, count, at_once):
                events += sum(await asyncio.gather(*(play(client) for _ in range(at_once))))
            return cpu() - used, events

    return asyncio.run(main())


def execute(flow: str, count: int, threads: int = 1) -> tuple[float, int]:
    with Noukai(KEY, env="dev") as client, ThreadPoolExecutor(threads) as pool:
        target = client.flow(f"bench/sdk/{flow}")

        def call(_: int) -> object:
            return target.execute("x")

        list(pool.map(call, range(threads)))
        used = cpu()
        list(pool.map(call, range(count)))
        return cpu() - used, count


PROBES = {
    "construct": construct,
    "sync": sync_events,
    "async": async_events,
    "async-100": lambda flow, count: async_events(flow, count, 100),
    "execute": execute,
    "execute-64": lambda flow, count: execute(flow, count, 64),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("probe", choices=PROBES)
    parser.add_argument("flow")
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    seconds, done = PROBES[options.probe](options.flow, options.count)
    print(json.dumps({"cpu": seconds, "done": done}))
