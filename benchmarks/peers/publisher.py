"""The least that a message can take: one process PUBLISHes the moment of now, at an interval, until it is told to stop."""

from __future__ import annotations

import argparse
import time

import redis


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--channel", required=True)
    parser.add_argument("--interval", type=float, required=True, help="seconds")
    options = parser.parse_args()
    with redis.Redis.from_url(options.redis_url) as publisher:
        while True:
            publisher.publish(options.channel, f'{{"stepId":"write","outputData":"{time.time_ns()} {"x" * 120}"}}')
            time.sleep(options.interval)


if __name__ == "__main__":
    main()
