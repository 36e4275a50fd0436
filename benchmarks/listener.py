"""A bare pub/sub connection that measures how old events are when they come: prints their ages in ms, on SIGTERM, as JSON.

SIGUSR1 forgets what was measured before: the run-up. An event's moment is what `paced` and `peers/bare.py` put into it.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from pathlib import Path

import redis

MOMENT = re.compile(rb'"outputData":\s*"(\d+) ')


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--channels", type=Path, required=True, help="a file, one channel a line")
    options = parser.parse_args()
    ages: list[float] = []

    def say(*_: object) -> None:
        print(json.dumps(ages), flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, say)
    signal.signal(signal.SIGUSR1, lambda *_: ages.clear())
    pubsub = redis.Redis.from_url(options.redis_url).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(*options.channels.read_text().split())
    pubsub.get_message(timeout=5, ignore_subscribe_messages=False)
    print("ready", flush=True)
    for message in pubsub.listen():
        now = time.time_ns()
        if moment := MOMENT.search(message["data"]):
            ages.append((now - int(moment[1])) / 1e6)


if __name__ == "__main__":
    main()
