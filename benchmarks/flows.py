"""How many flows one worker keeps in flight, an event a second each, beside Celery's threads with the published SDK.

Held to: memory for each flow, no lease missed, and events that come hardly later than with fifty flows. The peer is given as many
flows as it bears: all of them relay, and 99 of 100 events come within a second.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import redis
from celery import Celery

from noukai_worker.runs import keys
from tests.support.processes import Process, until

from .claims import Options, Row, memory_of
from .files import allow_many_files
from .in_flight import InFlight, listening, ours
from .stage import PEERS, PORT, Stage, Upstream, published, stage

FEW, MANY = 50, 5_000
LADDER = (50, 100, 250, 500, 1_000, 2_000, 5_000)
SECONDS = 10.0
LATE_MS = 1_000.0


def measure(options: Options) -> list[Row]:
    allow_many_files()
    many = 500 if options.quick else MANY
    python = published("redis>=6.4,<9", "celery[redis]>=5.5")
    with stage() as it:
        upstream = it.upstream("paced")
        published_upstream = Upstream(it.listening("paced"), PORT)
        theirs = partial(peer, it, published_upstream, python)
        born = most(theirs, many)
        rounds = [
            (ours(it, upstream, FEW, SECONDS), ours(it, upstream, many, SECONDS), theirs(born) if born else None)
            for _ in range(options.rounds)
        ]
    of = f"{many:,} flows in a worker, an event a second each"
    name = f"Celery threads, {born:,} flows"
    return [
        Row("flows in flight in one worker", "flows", [(many, born)] * options.rounds, MANY, peer=name, absolute=True),
        Row(of, "KB a flow", [(m.kb_per_flow, t and t.kb_per_flow) for _, m, t in rounds], 60, False, name, True),
        Row(of, "runs whose lease was missed", [(m.restarted, None) for _, m, _ in rounds], 0, False),
        Row(of, "p99 latency, ms", [(m.age(99), t and t.age(99)) for _, m, t in rounds], LATE_MS, False, name, True),
        Row(of, f"p99 latency in that of {FEW} flows", [(m.age(99) / f.age(99), None) for f, m, _ in rounds], 3, False),
    ]


def most(theirs: partial[InFlight | None], limit: int) -> int:
    """How many flows the peer bears, by a ladder of sizes; 0 if not even the fewest."""
    born = 0
    for flows in (size for size in LADDER if size <= limit):
        seen = theirs(flows)
        if seen is None or seen.age(99) > LATE_MS:
            break
        born = flows
    return born


def peer(it: Stage, upstream: Upstream, python: Path, flows: int) -> InFlight | None:
    """As `in_flight.ours`; None if not all flows begin within a minute."""
    url = it.redis.url.removesuffix("/0") + "/1"
    command = [str(python), "-P", "-m", "celery", "-A", "flows", "--workdir", str(PEERS), "worker"]
    options = ["--pool", "threads", "-c", str(flows), "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    log = it.folder / f"peer-{time.monotonic_ns()}.log"
    worker = Process([*command, *options], log, {"PEER_REDIS_URL": url, "PEER_FLOWS": str(flows)})
    channels = [keys.channel(f"peer-{run}") for run in range(flows)]
    with redis.Redis.from_url(url) as broker:
        broker.flushdb()  # what an earlier peer, which was killed, has left
    own = files(upstream)
    it.start(worker)
    try:
        until(lambda: " ready." in worker.output() or not worker.alive, "the peer is ready")
        time.sleep(1.0)
        idle = memory_of(worker.pid)
        with Celery(broker=url) as sender:
            for run, channel in enumerate(channels):
                sender.send_task("flows.relay", (run, channel), ignore_result=True)
        try:
            until(lambda: files(upstream) - own >= flows or not worker.alive, "all flows are in flight")
        except AssertionError:
            return None
        with listening(it, channels) as ages:
            time.sleep(SECONDS)
            memory = memory_of(worker.pid)
    finally:
        worker.kill()
        until(lambda: files(upstream) <= own, "the upstream has seen it")
    return InFlight(flows, 0.0, memory, idle, ages)


def files(upstream: Upstream) -> int:
    """How many it has open: one for each connection, and some of its own."""
    return len(os.listdir(f"/proc/{upstream.process.pid}/fd"))  # noqa: PTH208 - counting takes no paths
