"""Row 3: a worker is frozen with runs in flight, another takes over, the frozen one wakes up and writes nothing."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path

from ..evidence import Record
from ..figures import Figures
from ..house import House, house
from ..scale import Scale

TITLE = "SIGSTOP of a worker with runs in flight, takeover, SIGCONT"
FROZEN = ("stream-a", "execute-a")


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """One worker of each kind is frozen; the others are there to take over."""
    figures = Figures("3")
    with house(folder, scale, package=package) as it:
        for name in FROZEN:
            (it.stream if name.startswith("stream") else it.worker)(name)
        it.ready()
        count = scale.count(20, 60)
        load = {"parameters": {"steps": 5, "events": 20, "interval": 0.04, "bytes": 100}}
        it.enqueuer("teller", count=count, rate=1000, fields=load)
        runs = it.enqueued()

        def in_flight() -> bool:
            return all(any(e["type"] == "run.started" for e in record.entries) for record in it.records(runs))

        it.until(in_flight, "all runs are in flight")
        begin = time.monotonic()
        for name in FROZEN:
            it.fault(f"SIGSTOP {name}", name)
            it.kept[name].send(signal.SIGSTOP)
        it.stream("stream-b")
        it.worker("execute-b")
        it.ready()
        it.until(lambda: not _held_by_frozen(it.records(runs)), "every run was taken over", within=scale.of(40, 90))
        time.sleep(max(0.0, scale.of(0.0, 30.0) - (time.monotonic() - begin)))  # frozen for so long
        figures.own["frozen for, seconds"] = round(time.monotonic() - begin, 1)
        lengths = {record.run.id: len(record.entries) for record in it.records(runs) if record.end}
        for name in FROZEN:
            it.kept[name].send(signal.SIGCONT)
        with contextlib.suppress(AssertionError):
            it.until(lambda: _noticed(it, "stream-a"), "the frozen worker has noticed", within=30)
        figures.demand(_noticed(it, "stream-a"), "the worker that was frozen has not noticed that its runs were taken")
        it.ended(runs, within=60)
        logs = it.judge(figures)
        grown = [
            record.run.id for record in logs if len(record.entries) != lengths.get(record.run.id, len(record.entries))
        ]
        figures.demand(not grown, f"logs grew behind their end: {grown}")
        figures.own["runs taken over"] = sum(len(record.starts) > 1 for record in logs)
        figures.demand(figures.own["runs taken over"] >= count // 2, "hardly any run was in flight")
    return figures


def _held_by_frozen(logs: list[Record]) -> list[str]:
    return [
        record.run.id
        for record in logs
        if record.end is None and record.starts[-1]["data"]["worker"].startswith(tuple(f"{name}@" for name in FROZEN))
    ]


def _noticed(it: House, name: str) -> bool:
    return "was taken from" in it.kept[name].output() or "is no longer ours" in it.kept[name].output()
