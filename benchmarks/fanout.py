"""Deliveries per CPU-second of the web process, and its memory per reader, beside Starlette with a pub/sub connection per reader.

Two loads. *Streaming*: every run has 100 entries a second, as from fast models, and whenever it is its turn writes what has come
since, as our worker's writer does; it is counted until every reader has every entry. *One at a time*: the next entry of a run is
written when all readers have the last one, so nobody gets to batch. Only the web process' CPU time counts. The readers stay
attached for all rounds; ours also re-checks silent logs meanwhile.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import redis

from noukai_worker.runs import shared
from tests.support.processes import Process, free_port, until

from .claims import Options, Row, in_turn, memory_of
from .readers import Readers, many_files, reading
from .stage import PEERS, Stage, stage
from .writing import GIVEN, Written, wave

_DELIVERIES = 20_000
_STREAMED = 100_000
_PER_SECOND = 100
_TURN = 0.01
_UNIT = "deliveries per CPU-second of the web process"
_PEER = "a pub/sub connection each"


def measure(options: Options) -> list[Row]:
    many_files()
    loads = ((100, 10), (500, 50)) if options.quick else ((500, 10), (5_000, 500))
    return [row for readers, runs in loads for row in _load(options, readers, runs)]


def _load(options: Options, readers: int, runs: int) -> list[Row]:
    with stage() as it, watched(it, readers, runs) as ours, _peer_watched(it, readers, runs) as theirs:
        flowing = in_turn(options, ours.stream, theirs.stream)
        rounds = in_turn(options, ours.deliver, theirs.deliver)
        memory = [(ours.memory_per_reader / 1024, theirs.memory_per_reader / 1024)]
        listening = [(ours.connections, theirs.connections)]
    claim = f"fan-out, {readers:,} readers of {runs} runs"
    return [
        Row(f"{claim}, streaming", _UNIT, flowing, goal=3, peer=_PEER),
        Row(f"{claim}, one at a time", _UNIT, rounds, goal=3, peer=_PEER),
        Row(claim, "KB of memory per reader", memory, goal=30, more_is_better=False, peer=_PEER, absolute=True),
        Row(claim, "pub/sub connections", listening, goal=1, more_is_better=False, peer=_PEER, absolute=True),
    ]


@dataclass(slots=True)
class Watched:
    """A web process, runs, and readers who are attached to them."""

    web: Process
    runs: Sequence[Written]
    readers: Readers
    empty: int
    """Bytes of the process before the readers came."""
    connections: int
    given: int = 0
    """Entries that every reader has."""

    def deliver(self, deliveries: int = _DELIVERIES) -> float:
        """Write about so many deliveries' worth of entries; deliveries per CPU-second."""
        used = _cpu_of(self.web.pid)
        waves = max(1, deliveries // self.readers.count)
        for _ in range(waves):
            wave(self.runs)
            self.given += 1
            self.readers.have(self.given)
        return waves * self.readers.count / (_cpu_of(self.web.pid) - used)

    def stream(self, deliveries: int = _STREAMED) -> float:
        """The same, but nobody waits for the readers until all is written."""
        used, begin = _cpu_of(self.web.pid), time.monotonic()
        each = max(1, deliveries // self.readers.count)
        written = dict.fromkeys(self.runs, 0)
        while any(count < each for count in written.values()):
            for run in self.runs:
                due = min(each, int((time.monotonic() - begin) * _PER_SECOND)) - written[run]
                if due:
                    run.write(due)
                    written[run] += due
            time.sleep(_TURN)
        self.given += each
        self.readers.have(self.given)
        return each * self.readers.count / (_cpu_of(self.web.pid) - used)

    @property
    def memory_per_reader(self) -> float:
        return (memory_of(self.web.pid) - self.empty) / self.readers.count


@contextlib.contextmanager
def watched(it: Stage, readers: int, runs: int) -> Iterator[Watched]:
    """Our web process, as `noukai-worker web` serves, with so many readers."""
    port = free_port()
    code = f"from noukai_worker.web import serve; serve(port={port})"
    env = {**it.env, "NOUKAI_WORKER_WEB_OPEN": "true"}
    web = Process([sys.executable, "-c", code], it.folder / f"web-{port}.log", env)
    with _attached(it, web, port, "/runs/{}/events", readers, runs, GIVEN) as them:
        yield them


@contextlib.contextmanager
def _peer_watched(it: Stage, readers: int, runs: int) -> Iterator[Watched]:
    port = free_port()
    command = [sys.executable, str(PEERS / "fanout.py"), "--port", str(port), "--redis-url", it.redis.url]
    web = Process(command, it.folder / f"web-{port}.log")
    with _attached(it, web, port, "/{}", readers, runs, 0) as them:
        yield them


@contextlib.contextmanager
def _attached(it: Stage, web: Process, port: int, path: str, readers: int, runs: int, given: int) -> Iterator[Watched]:
    store = shared(it.redis.url)
    written = [Written(store) for _ in range(runs)]
    paths = [path.format(written[n % runs].id) for n in range(readers)]
    it.start(web)
    until(lambda: f"http://127.0.0.1:{port}" in web.output() or not web.alive, "the web process listens")
    with reading(port, paths[:10]) as first:  # what it loads once is not the readers'
        first.attached()
    empty = memory_of(web.pid)
    with contextlib.closing(redis.Redis.from_url(it.redis.url)) as client, reading(port, paths) as them:
        before = len(client.client_list(_type="pubsub"))
        them.attached()
        them.have(given)
        channels = [f"noukai:{{{run.id}}}:events" for run in written]
        until(lambda: all(count for _, count in client.pubsub_numsub(*channels)), "all runs are listened to")
        yield Watched(web, written, them, empty, len(client.client_list(_type="pubsub")) - before, given)


def _cpu_of(pid: int) -> float:
    """CPU seconds that a process has used, by its own clock: to the nanosecond, where `claims.cpu_of` counts ticks (Linux)."""
    return time.clock_gettime((~pid << 3) | 2)
