"""Redis' memory while a log grows to 100,000 entries of 180 bytes: `python -m benchmarks.growth_entries --json FILE`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import redis

from noukai_worker.runs import shared

from .entry_cost import PAYLOAD, Log
from .stage import stage


def series(most: int, points: int) -> list[dict[str, int]]:
    """Entries, bytes that Redis uses, bytes of the log's key; from an empty log on."""
    with stage() as it, redis.Redis.from_url(it.redis.url) as server:
        log, told = Log(shared(it.redis.url)), []
        for n in range(points + 1):
            entries = most * n // points
            log.grow(entries - (told[-1]["entries"] if told else 0))
            used = server.info("memory")["used_memory"]
            told.append({"entries": entries, "used_memory": used, "log": server.memory_usage(log.key, samples=0)})
        return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=20)
    options = parser.parse_args()
    grown = {"payload": PAYLOAD, "series": series(options.most, options.points)}
    options.json.write_text(json.dumps(grown, indent=1) + "\n")
    last = grown["series"][-1]
    over = last["log"] / last["entries"] - PAYLOAD
    print(f"{last['entries']:,} entries: {last['log']:,} bytes, {over:.0f} an entry over its payload")
