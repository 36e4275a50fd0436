"""What a user would write with the published SDK: all flows in one event loop, one PUBLISH per event.

Runs in an environment of its own (both SDKs have one import name). Prints one JSON line: events, CPU seconds, wall seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time

import redis.asyncio

from noukai_sdk import AsyncNoukai


async def relay(client: AsyncNoukai, publisher: redis.asyncio.Redis, run: int) -> int:
    events = 0
    async for event in client.flow("acme/demo/load").events(message="x", run_remaining=True):
        await publisher.publish(f"run:{run}", event.model_dump_json(by_alias=True))
        events += 1
    return events


async def main(flows: int, redis_url: str) -> None:
    client = AsyncNoukai("nk_test_benchmark", env="dev")
    publisher = redis.asyncio.Redis.from_url(redis_url, max_connections=flows + 10)
    used, begin = cpu(), time.monotonic()
    counts = await asyncio.gather(*(relay(client, publisher, run) for run in range(flows)))
    print(json.dumps({"events": sum(counts), "cpu": cpu() - used, "wall": time.monotonic() - begin}))
    await client.aclose()
    await publisher.aclose()


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--flows", type=int, default=500)
    parser.add_argument("--redis-url", required=True)
    options = parser.parse_args()
    asyncio.run(main(options.flows, options.redis_url))
