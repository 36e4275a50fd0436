"""Row 1: a random process is killed every few seconds while runs of both kinds pass through."""

from __future__ import annotations

import random
import time
from pathlib import Path

from ..figures import Figures
from ..house import house
from ..readers import Audience
from ..scale import Scale

TITLE = "kill -9 of a random process every few seconds, runs of both kinds passing"
EVERY = 3.0
WATCHED = 10


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """Two enqueuers (one in Python, one over HTTP), a streaming worker, an execute worker, a prefork worker of a shop, the web."""
    figures = Figures("1")
    every, seconds = scale.of(1.5, EVERY), scale.seconds(10.5, 75.0)
    count = scale.runs or scale.of(70, int(500 * seconds / 75))
    chance = random.Random(4)
    with house(folder, scale, package=package) as it:
        _, port = it.web()
        it.stream("stream-a")
        it.stream("stream-b")
        it.worker("execute")
        it.shop("shop", "-P", "prefork", "-c", "2", "-Q", "noukai.execute")
        it.ready()
        load = {"parameters": {"steps": 4, "events": 10, "interval": 0.06, "bytes": 100}}
        plan = {"count": count // 2, "rate": count / 2 / (seconds * 0.8), "fields": load}
        it.enqueuer("teller", **plan)
        it.enqueuer("caller", web=f"http://127.0.0.1:{port}", **plan)
        audience = Audience(port)
        audience.start()
        it.until(lambda: len(it.accepted()) > 5, "runs are accepted")
        end = time.monotonic() + seconds
        victims: list[str] = []
        while time.monotonic() < end:
            time.sleep(every)  # the row's rhythm
            for run in it.accepted()[len(audience.readers) * 5 : WATCHED * 5 : 5]:
                audience.attend(run)
            victims = victims or chance.sample(["child", *it.kept], len(it.kept) + 1)
            victim = victims.pop()
            it.kill_child("shop", chance) if victim == "child" else it.kill(victim)
        runs = it.enqueued()
        it.ended(runs, within=scale.of(60.0, 180.0))
        it.judge(figures)
        _check_readers(figures, audience)
        figures.own["restarts"] = {name: len(process.starts) - 1 for name, process in it.kept.items()}
        figures.demand(len(runs) == count // 2 * 2, f"{count} runs were to be accepted, {len(runs)} were")
        figures.demand(figures.faults >= seconds / every / 2, "hardly anything was killed")
        figures.demand(figures.recoveries, "no kill hit a run")
        limit = 2 * scale.lease + 8
        figures.demand(max(figures.recoveries, default=0) < limit, f"recovery took more than {limit} s")
    return figures


def _check_readers(figures: Figures, audience: Audience) -> None:
    audience.settle()
    figures.own["readers"] = len(audience.readers)
    figures.own["connections of readers"] = sum(reader.connections for reader in audience.readers)
    broken = audience.broken()
    figures.demand(not broken, f"{len(broken)} readers did not get every entry once: {broken[:3]}")
    figures.demand(audience.readers, "nobody read")
