"""Milliseconds from the upstream's write to a subscriber, on an idle system, beside a bare PUBLISH and SUBSCRIBE.

One flow, an event every 20 ms. What is held to the goal is the difference of the medians: what the worker adds.
"""

from __future__ import annotations

import signal
import sys
import time
from functools import partial

from noukai_worker import enqueue
from tests.support.processes import Process

from .claims import Options, Row, in_turn, shown
from .in_flight import listening, percentile
from .stage import Stage, Upstream, stage

INTERVAL = 0.02
CHANNEL = "bare"


def measure(options: Options) -> list[Row]:
    seconds = 2.0 if options.quick else 5.0
    with stage() as it:
        upstream = it.upstream("paced", "--interval", INTERVAL)
        it.worker("stream", **upstream.env)
        rounds = in_turn(options, partial(ours, it, upstream, seconds), partial(bare, it, seconds))
    row = Row("", "", rounds, goal=0)
    assert row.theirs is not None
    claim = f"latency of an idle system, p50 {shown(row.ours)} ms, bare PUBLISH {shown(row.theirs)} ms"
    added = [(ours - theirs, None) for ours, theirs in rounds if theirs is not None]
    return [Row(claim, "ms added", added, goal=2, more_is_better=False)]


def ours(it: Stage, upstream: Upstream, seconds: float) -> float:
    run = enqueue("acme/demo/load", message="x")
    with listening(it, [f"noukai:{{{run.id}}}:events"]) as ages:
        time.sleep(seconds)
    upstream.process.send(signal.SIGUSR1)
    run.result()
    return percentile(ages, 50)


def bare(it: Stage, seconds: float) -> float:
    command = [sys.executable, "-m", "benchmarks.peers.publisher", "--redis-url", it.redis.url]
    publisher = Process([*command, "--channel", CHANNEL, "--interval", str(INTERVAL)], it.folder / "bare.log")
    it.start(publisher)
    with listening(it, [CHANNEL]) as ages:
        time.sleep(seconds)
    publisher.kill()
    return percentile(ages, 50)
