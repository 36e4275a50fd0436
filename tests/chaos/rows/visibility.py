"""Row 6: runs that take longer than the broker's visibility timeout: their messages come again, they are executed once."""

from __future__ import annotations

from pathlib import Path

from ..figures import Figures
from ..house import house
from ..scale import Scale

TITLE = "visibility timeout of 10 s with runs of 45 s"
STREAM = ("-P", "custom", "-c", "100", "-Q", "noukai.stream")
EXECUTE = ("-P", "threads", "-c", "16", "-Q", "noukai.execute")
POOL = {"CELERY_CUSTOM_WORKER_POOL": "noukai_worker.pool:TaskPool"}


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """An application's own Celery app, two workers of each kind: the copy of a message goes to the other one, too."""
    figures = Figures("6")
    seconds, visibility = scale.of(5, 45), scale.of(1, 10)
    with house(folder, scale, package=package, CHAOS_VISIBILITY=str(visibility)) as it:
        for name in ("a", "b"):
            it.shop(f"stream-{name}", *STREAM, **POOL)
            it.shop(f"execute-{name}", *EXECUTE)
        it.ready()
        load = {"parameters": {"steps": 2, "events": 10, "interval": seconds / 20, "bytes": 100}}
        it.enqueuer("teller", count=scale.count(12, 20), rate=1000, fields=load)
        it.ended(it.enqueued(), within=seconds + 30)
        logs = it.judge(figures)
        told = it.flow_server.counts()["messages"]
        executions = {record.run.message: told[record.run.message]["executions"] for record in logs}
        figures.demand(set(executions.values()) == {1}, f"not one execution each: {executions}")
        figures.demand(all(len(record.starts) == 1 for record in logs), "a run was attempted twice")
        copies = sum(process.output().count("this message has nothing to do") for process in it.kept.values())
        figures.own["copies of messages turned away"] = copies
        figures.demand(copies >= len(logs) / 2, "hardly any message came twice: the row proves nothing")
    return figures
