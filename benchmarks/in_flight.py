"""Many flows in flight at once, an event a second each, in one worker: what a flow costs, and how late its events come."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import redis

from noukai_worker import enqueue
from noukai_worker.runs import RunStore, RunView, State, keys, operations, shared
from tests.support.processes import Process, free_port, until

from .claims import cpu_of, memory_of
from .stage import Stage, Upstream

BEGUN = 4
"""Entries of a run whose stream has begun: two are ours, two the upstream's."""
SAMPLE = 200
"""So many flows are listened to at most: the listener must not be what is measured."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """What was measured while all flows were in flight."""

    flows: int
    cpu_us_per_event: float
    """Of the worker."""
    memory: float
    """Bytes that the worker had to itself, at the end."""
    idle_memory: float
    """The same before the first flow."""
    ages: Sequence[float]
    """Milliseconds from the upstream's write to a subscriber, of the sampled flows' events."""
    restarted: int = 0
    """Flows that needed another attempt: a lease was missed."""

    @property
    def kb_per_flow(self) -> float:
        return (self.memory - self.idle_memory) / self.flows / 1024

    def age(self, percent: int) -> float:
        return percentile(self.ages, percent)


def percentile(figures: Sequence[float], percent: int) -> float:
    return statistics.quantiles(figures, n=100)[percent - 1] if len(figures) > 1 else math.nan


def ours(it: Stage, upstream: Upstream, flows: int, seconds: float) -> InFlight:
    """`flows` in a fresh worker, for `seconds` after the last one has begun."""
    with redis.Redis.from_url(it.redis.url) as log:
        worker = it.worker("stream", **upstream.env, NOUKAI_WORKER_STREAM_CONCURRENCY=str(flows))
        time.sleep(1.0)
        idle = memory_of(worker.pid)
        ids = [enqueue("acme/demo/load", message="x").id for _ in range(flows)]
        until(lambda: min(_positions(log, ids)) >= BEGUN, "all flows are in flight", within=120)
        with listening(it, [keys.channel(run_id) for run_id in ids]) as ages:
            used, events = cpu_of(worker.pid), sum(_positions(log, ids))
            time.sleep(seconds)
            used, events = cpu_of(worker.pid) - used, sum(_positions(log, ids)) - events
            memory = memory_of(worker.pid)
        upstream.process.send(signal.SIGUSR1)
        store = shared(it.redis.url)
        views = [until(partial(_ended, store, run_id), "the run ends", within=120) for run_id in ids]
        worker.stop(within=60)
    restarted = sum(view.state is not State.COMPLETED or view.attempt != 1 for view in views)
    return InFlight(flows, used / events * 1e6, memory, idle, ages, restarted)


@contextlib.contextmanager
def listening(it: Stage, channels: Sequence[str]) -> Iterator[list[float]]:
    """The ages of what comes on (some of) these channels; complete once the block is left."""
    names = it.folder / f"channels-{free_port()}"
    names.write_text("\n".join(channels[:: math.ceil(len(channels) / SAMPLE)]))
    command = [sys.executable, "-m", "benchmarks.listener", "--redis-url", it.redis.url, "--channels", str(names)]
    listener = Process(command, names.with_suffix(".log"))
    it.start(listener)
    until(lambda: "ready" in listener.output() or not listener.alive, "the listener listens")
    time.sleep(1.0)
    listener.send(signal.SIGUSR1)
    ages: list[float] = []
    yield ages
    listener.stop()
    ages += json.loads(listener.output().splitlines()[-1])


def _positions(log: redis.Redis, ids: Sequence[str]) -> list[int]:
    """How many entries each run's log has."""
    with log.pipeline(transaction=False) as pipeline:
        for run_id in ids:
            pipeline.xlen(keys.log(run_id))
        return list(pipeline.execute())


def _ended(store: RunStore, run_id: str) -> RunView | None:
    view = store.perform(operations.show(run_id))
    return view if view.state.terminal else None
