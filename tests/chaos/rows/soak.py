"""Row 9: runs of both kinds for a long time: no process grows, no key stays, no file is left open."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.processes import until

from .. import evidence
from ..evidence import Record
from ..figures import Figures
from ..house import House, house
from ..measures import Sample, Sampler
from ..readers import Audience
from ..scale import Scale

TITLE = "a soak: memory, open files and keys stay where they are"
RATE = 8.0
"""Runs a second, of both kinds together, that two cores bear beside the flow server and Redis."""


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """The runs are kept for seconds only, so that what is not cleaned up shows."""
    figures = Figures("9")
    seconds, retention = scale.seconds(16.0, 1200.0), scale.of(3, 30)
    settings = {"NOUKAI_WORKER_RETENTION": str(retention), "NOUKAI_WORKER_MAX_AGE": "60"}
    with house(folder, scale, package=package, **settings) as it:
        web, port = it.web()
        stream, execute = it.stream(), it.worker()
        it.ready()
        load = {"parameters": {"steps": 3, "events": 10, "interval": 0.02, "bytes": 200}}
        count = scale.runs or int(RATE * seconds)
        plan = {"count": count // 2, "rate": RATE / 2, "fields": load}
        it.enqueuer("teller", **plan)
        it.enqueuer("caller", web=f"http://127.0.0.1:{port}", **plan)
        watched = {process.name: (lambda p=process: p.pid) for process in (web, stream, execute)}
        with Collector(it, port) as collector, Sampler(watched | {"redis": lambda: it.redis_server.pid}) as sampler:
            runs = it.enqueued(within=seconds * 2 + 60)
            it.ended([run for run in runs if run.id not in collector.records], within=60)
            until(lambda: len(collector.records) >= len(runs), "all logs are read", within=30)
        logs = [*collector.records.values()]
        evidence.judge(figures, logs, it.flow_server.counts())
        for name in (*watched, "redis"):
            _flat(figures, name, sampler.of(name), scale)
        figures.own["keys, at most"] = collector.most_keys
        figures.own["runs a second"] = round(count / seconds, 1)
        figures.own["load average"] = [round(value, 1) for value in os.getloadavg()]
        left = _left(it, within=4 * retention + 10)
        figures.own["keys left"] = left
        figures.demand(not [key for key in left if "{" in key or "meta" in key], f"keys of runs were left: {left[:5]}")
        figures.demand(collector.most_keys < RATE * retention * 8 + 200, f"{collector.most_keys} keys at once")
        with it.client as client:
            evidence.search(figures, client, it.flow_server.api_key)
    return figures


def _flat(figures: Figures, name: str, samples: Sequence[Sample], scale: Scale) -> None:
    settled = samples[len(samples) // 6 :]  # the first ones load code
    third = max(1, len(settled) // 3)
    first, last = settled[:third], settled[-third:]
    megabytes = [statistics.mean(s.megabytes for s in part) for part in (first, last)]
    files = [max(s.files for s in part) for part in (first, last)]
    figures.own[f"{name}: MB, files (first third, last)"] = [*(round(value, 1) for value in megabytes), *files]
    allowed = scale.of(1.25, 1.05) * megabytes[0] + 4.0
    figures.demand(megabytes[1] <= allowed, f"{name} grew from {megabytes[0]:.1f} to {megabytes[1]:.1f} MB")
    figures.demand(files[1] <= files[0] + 5, f"{name} has {files[1]} files open, it had {files[0]}")


def _left(it: House, within: float) -> list[str]:
    """Names of all keys that are there when runs should be gone."""
    with it.client as client:

        def keys() -> list[str]:
            return sorted(key.decode() for key in client.scan_iter("*", count=1000))

        end = time.monotonic() + within
        while time.monotonic() < end and any("{" in key or "meta" in key for key in keys()):
            time.sleep(0.2)
        return keys()


class Collector(threading.Thread):
    """Reads each run's log when it has ended, before it expires; a reader over HTTP attends every tenth."""

    def __init__(self, it: House, port: int) -> None:
        super().__init__(name="collector", daemon=True)
        self._it, self._audience = it, Audience(port)
        self.records: dict[str, Record] = {}
        self.most_keys = 0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._audience.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._audience.close()

    def run(self) -> None:
        """Until the block ends."""
        attended = 0
        with self._it.client as client:
            while not self._over.wait(0.5):
                runs = self._it.accepted()
                for run in runs[attended::10]:
                    self._audience.attend(run)
                attended = len(runs)
                new = [run for run in runs if run.id not in self.records]
                waiting = {run.id for run in evidence.unended(client, new)} if new else set()
                self.records |= {
                    record.run.id: record
                    for record in evidence.records(client, [run for run in new if run.id not in waiting])
                }
                self.most_keys = max(self.most_keys, client.dbsize())
