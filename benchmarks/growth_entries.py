"""Redis' memory while a log grows to 100,000 entries of 180 bytes: `python -m benchmarks.growth_entries --json FILE`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import redis

from noukai_worker.runs import shared

from .entry_cost import PAYLOAD, Log
from .stage import stage


def series(most: int, points: int) -> list[dict[str, float]]:
    """Entries, MB that Redis uses, MB of the log's key; from an empty log on."""
    with stage() as it, redis.Redis.from_url(it.redis.url) as server:
        log, told = Log(shared(it.redis.url)), []
        for n in range(points + 1):
            entries = most * n // points
            log.grow(entries - (int(told[-1]["entries"]) if told else 0))
            used = server.info("memory")["used_memory"] / 1e6
            size = (server.memory_usage(log.key, samples=0) or 0) / 1e6
            told.append({"entries": entries, "log_mb": round(size, 2), "memory_mb": round(used, 2)})
        return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--most", type=int, default=100_000)
    parser.add_argument("--points", type=int, default=20)
    options = parser.parse_args()
    grown = series(options.most, options.points)
    options.json.write_text(json.dumps(grown, indent=1) + "\n")
    last = grown[-1]
    over = last["log_mb"] * 1e6 / last["entries"] - PAYLOAD
    print(f"{last['entries']:,} entries: {last['log_mb']} MB, {over:.0f} bytes an entry over its payload")
