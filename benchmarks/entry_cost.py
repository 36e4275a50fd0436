"""What a log entry and a run cost Redis: bytes over the payload, commands, and the server's CPU time.

Bytes: a log of entries with 180-byte payloads, in Redis' own encoding. Commands and CPU time: the streaming worker relays 200
events a run, then one; the difference tells a run's cost from an entry's. Its writes merge all entries that wait.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import redis

from noukai_worker import enqueue_many
from noukai_worker.runs import RunRequest, RunStore, keys, operations, shared
from noukai_worker.runs.answers import Advanced, Claimed
from tests.support.processes import free_port, until

from .claims import Options, Row
from .stage import Stage, stage

PAYLOAD = 180
EVENTS = 200
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Load:
    """What one Redis did for some runs."""

    runs: int
    entries: int
    scripts: int
    cpu: float
    """Seconds."""


def measure(options: Options) -> list[Row]:
    entries, flows = (2_000, 50) if options.quick else (20_000, 300)
    with stage() as it, redis.Redis.from_url(it.redis.url) as server:
        key, grown = [], []
        for _ in range(options.rounds):
            server.flushall()
            before = server.info("memory")["used_memory"]
            log = Log(shared(it.redis.url))
            log.grow(entries)
            key.append((server.memory_usage(log.key, samples=0) / entries - PAYLOAD, None))
            grown.append(((server.info("memory")["used_memory"] - before) / entries - PAYLOAD, None))
        full = [relayed(it, server, flows, EVENTS) for _ in range(options.rounds)]
        short = [relayed(it, server, flows, 1) for _ in range(options.rounds)]
    scripts = [(load.scripts / load.entries, None) for load in full]
    of_entry = [(a.cpu / a.runs - b.cpu / b.runs) / (EVENTS - 1) * 1e6 for a, b in zip(full, short, strict=True)]
    of_run = [load.cpu / load.runs * 1e6 for load in short]
    size = f"a log entry of {PAYLOAD} bytes"
    return [
        Row(f"{size}: MEMORY USAGE over its payload", "bytes", key, 400, more_is_better=False),
        Row(f"{size}: growth of used_memory over its payload", "bytes", grown, 400, more_is_better=False),
        Row(f"scripts for an entry, {flows} flows at once", "calls", scripts, 0.2, more_is_better=False),
        Row("one entry", "µs of Redis' CPU", [(cost, None) for cost in of_entry], 50, more_is_better=False),
        Row("one run of one event", "µs of Redis' CPU", [(cost, None) for cost in of_run], 2_000, more_is_better=False),
    ]


class Log:
    """The log of one run, which an attempt writes to."""

    def __init__(self, store: RunStore) -> None:
        self._store, self.position = store, 0
        run_id = f"log-{os.urandom(4).hex()}"
        limits = {"token": "t", "retention": 3600, "pickup": 60, "max_attempts": 8, "max_age": 3600}
        request = RunRequest.build(flow="acme/demo/load", message="x")
        store.perform(operations.create(run_id, request, max_entries=1_000_000, **limits))
        claimed = store.perform(operations.claim(run_id, claim_id="c", lease=600, worker="w"))
        assert isinstance(claimed, Claimed)
        self._lease, self.position = claimed.lease, store.perform(operations.show(run_id)).position
        self.key = keys.log(run_id)

    def grow(self, entries: int) -> None:
        """Append so many."""
        data = json.dumps({"stepId": "write", "outputData": ""}, separators=(",", ":"))
        data = data.replace('""', f'"{os.urandom(200).hex()[: PAYLOAD - len(data)]}"')
        while entries:
            part = [(b'"step_output"', data.encode())] * min(entries, _AT_ONCE)
            advance = operations.advance(self._lease, position=self.position, extend=600, entries=part)
            told = self._store.perform(advance)
            assert isinstance(told, Advanced), told
            self.position, entries = told.position, entries - len(part)


def relayed(it: Stage, server: redis.Redis, flows: int, events: int) -> Load:
    """The streaming worker relays so many flows at once."""
    port = free_port()
    upstream = it.listening("canned", "--events", events, port=port)
    worker = it.worker("stream", NOUKAI_BASE_URL=f"http://127.0.0.1:{port}/api/v1")
    server.flushall()  # nothing else has a deadline, or is swept
    server.config_resetstat()
    cpu = _cpu(server)
    runs = enqueue_many([{"message": "x"}] * flows, flow="acme/demo/load")
    store = shared(it.redis.url)
    # Whatever has not ended has a deadline. Asking for each run would be counted, too.
    until(lambda: not server.zcard(keys.DEADLINES), "all runs end", within=120)
    cpu = _cpu(server) - cpu
    calls = server.info("commandstats")
    entries = sum(store.perform(operations.show(run.id)).position for run in runs)
    worker.stop()
    upstream.stop()
    return Load(flows, entries, calls["cmdstat_evalsha"]["calls"], cpu)


def _cpu(server: redis.Redis) -> float:
    told = server.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])
