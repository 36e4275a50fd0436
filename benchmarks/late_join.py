"""CPU time of a reader who comes late: from nothing to the first live entry behind a log of 5,000.

Our entries are decoded when they are looked at, the peer's always: so there is a row in which `data` of each is looked at, and
that one is held to the goal, too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

import redis

from noukai_worker import subscribe
from noukai_worker.runs import shared

from .claims import Options, Row, in_turn
from .peers import late_join
from .stage import stage
from .writing import Written

_ACT = 100
_JOINS = 10
_PEER = "redis-py, XRANGE, json"

Look = Callable[[Any], Any]


def measure(options: Options) -> list[Row]:
    entries = 1_000 if options.quick else 5_000
    with stage() as it, contextlib.closing(redis.Redis.from_url(it.redis.url)) as client:
        run = Written(shared(it.redis.url))
        while run.position < entries:
            run.write(min(_ACT, entries - run.position))
        claim = f"late join, a log of {entries:,} entries to the first live one"
        looks: list[tuple[str, Look | None, Look | None]] = [
            (claim, None, None),
            (f"{claim}, looking at each one's data", attrgetter("data"), itemgetter("data")),
        ]
        rows = []
        for name, ours, theirs in looks:
            rounds = in_turn(
                options,
                partial(_joined, run, lambda: subscribe(run.id, redis_url=it.redis.url), ours),
                partial(_joined, run, lambda: late_join.entries(client, run.id), theirs),
            )
            rows.append(Row(name, "CPU ms of the reader", rounds, goal=3, more_is_better=False, peer=_PEER))
    return rows


def _joined(run: Written, join: Callable[[], Iterable[Any]], look: Look | None) -> float:
    """CPU milliseconds of one join, the mean of some; the writer's time is not counted."""
    used = 0.0
    for _ in range(_JOINS):
        last, begin, seen = run.position, time.process_time(), 0
        reader = iter(join())
        for _ in range(last):
            entry = next(reader)
            seen += 1
            if look:
                look(entry)
        used += time.process_time() - begin
        run.write()
        begin = time.process_time()
        next(reader)
        used += time.process_time() - begin
        reader.close()  # type: ignore[attr-defined]
        assert seen + 1 == run.position
    return used / _JOINS * 1000
