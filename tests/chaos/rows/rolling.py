"""Row 4: a deploy: every worker is told to stop and started again, one after the other, under live streams."""

from __future__ import annotations

import itertools
import signal
import time
from pathlib import Path

from ..evidence import Record, moment
from ..figures import Figures
from ..house import House, house
from ..scale import Scale

TITLE = "rolling restart of all workers under live streams"
WORKERS = ("stream-a", "execute-a", "stream-b", "execute-b")


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """Live streams last longer than all restarts together; execute runs pass all the while."""
    figures = Figures("4")
    rounds, streams = scale.of(1, 3), scale.count(60, 200)
    with house(folder, scale, package=package) as it:
        for name in WORKERS:
            (it.stream if name.startswith("stream") else it.worker)(name)
        it.ready()
        steps = scale.of(5, 30)
        live = {"parameters": {"steps": steps, "events": 20, "interval": 0.12, "bytes": 100}}
        short = {"parameters": {"steps": 1, "events": 5, "interval": 0.1, "bytes": 100}}
        it.enqueuer("teller", count=streams, rate=1000, modes=["stream"], fields=live)
        it.enqueuer("caller", count=steps * 5, rate=3, modes=["execute"], fields=short)
        it.until(lambda: len(it.accepted()) >= streams, "the streams are accepted")
        runs = [run for run in it.accepted() if run.mode == "stream"]
        it.until(lambda: all(record.starts for record in it.records(runs)), "all streams are live")
        stops: dict[str, list[float]] = {}
        for _, name in itertools.product(range(rounds), WORKERS):
            stops.setdefault(name, []).append(_restart(it, name, figures))
        figures.own["streams live after the last restart"] = len(it.ended(runs, within=0))
        it.ended(it.enqueued(), within=60)
        logs = it.judge(figures)
        figures.own["seconds to stop, at most"] = {name: round(max(took), 1) for name, took in stops.items()}
        figures.own["longest gap in any stream, seconds"] = round(
            max(_longest_gap(r) for r in logs if r.run.mode == "stream"), 2
        )
        moved = sum(entry["type"] == "run.retrying" for record in logs for entry in record.entries)
        figures.own["runs given back"] = moved
        figures.demand(moved >= streams / 2, "hardly any stream was given back")
        # A draining worker half-closes and reads to the end. Where tests share their machine, the end may come too late for it.
        figures.own["steps done twice, their end was on the wire"] = figures.step_ends_unknown
        few = figures.step_ends_unknown <= scale.of(moved // 50, 0)
        figures.demand(few, f"{figures.step_ends_unknown} steps were done twice in {moved} hand-overs")
        limit = scale.of(6.0, 5.0)  # tests share their machine
        slow = {name: round(max(took), 1) for name, took in stops.items() if max(took) > limit}
        figures.demand(not slow, f"stopping took long: {slow}")
    return figures


def _restart(it: House, name: str, figures: Figures) -> float:
    """SIGTERM, and wait until the supervisor's next one is ready; the seconds that stopping took."""
    worker, before = it.kept[name], len(it.kept[name].starts)
    begin = time.monotonic()
    it.fault(f"SIGTERM {name}", name)
    worker.wanted = False
    worker.send(signal.SIGTERM)
    it.until(lambda: not worker.alive, f"{name} stops")
    took = time.monotonic() - begin
    figures.demand(worker.done, f"{name} did not end with exit code 0")
    worker.start()
    worker.wanted = True
    it.until(lambda: len(worker.starts) > before and worker.is_ready, f"{name} is back")
    return took


def _longest_gap(record: Record) -> float:
    moments = [moment(entry) for entry in record.entries if entry["type"] != "run.queued"]
    return max((b - a for a, b in itertools.pairwise(moments)), default=0.0)
