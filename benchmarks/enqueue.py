"""Runs enqueued for each CPU-second of the process that enqueues, beside bare Celery: one by one, and a thousand at once.

Ours does more for each run: it is checked, and recorded with its log, deadline and expiry before its message is sent. The peer
is an application's task in a Celery app with its defaults, on the same Redis; no worker consumes. It is shown without a result
backend, too, where Celery need not subscribe to anything.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial

import redis

from noukai_worker import enqueue, enqueue_many

from .claims import Options, Row, in_turn
from .peers.enqueue import FLOW, MESSAGE, bare
from .stage import stage


def measure(options: Options) -> list[Row]:
    runs, many = (200, 200) if options.quick else (2000, 1000)
    clocks = {"runs per CPU-second": time.process_time, "runs per second": time.perf_counter}
    with stage() as it, redis.Redis.from_url(it.redis.url) as server:
        url = it.redis.url
        peers = {"Celery apply_async": bare(url, url), "apply_async without results": bare(url, None)}
        rows = []
        for (unit, clock), (peer, send) in itertools.product(clocks.items(), peers.items()):
            measured = partial(_rate, server, clock)
            one = in_turn(options, partial(measured, _one_by_one, runs), partial(measured, send, runs))
            rows.append(Row("enqueue one by one", unit, one, goal=0.8, peer=peer))
            batch = in_turn(options, partial(measured, _at_once, many), partial(measured, send, many))
            rows.append(Row(f"enqueue_many of {many:,}", unit, batch, goal=5, peer=peer))
        return rows


def _rate(server: redis.Redis, clock: Callable[[], float], send: Callable[[int], object], runs: int) -> float:
    server.flushall()  # nobody consumes
    begin = clock()
    send(runs)
    return runs / (clock() - begin)


def _one_by_one(runs: int) -> None:
    for _ in range(runs):
        enqueue(FLOW, message=MESSAGE)


def _at_once(runs: int) -> None:
    enqueue_many([{"message": MESSAGE} for _ in range(runs)], flow=FLOW)
