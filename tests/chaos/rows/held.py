"""Row 7: delays and retries that are pending while a worker is killed and Redis restarts run on time all the same."""

from __future__ import annotations

import time
from pathlib import Path

from ..evidence import Record, moment
from ..figures import Figures
from ..house import house
from ..scale import Scale

TITLE = "countdowns and retries pending while workers are killed and Redis restarts"
DELAYED, RETRIED = "acme/demo/hello-world", "acme/demo/two-step"


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """Half of the runs were enqueued with a delay, half were sent away by the service."""
    figures = Figures("7")
    pause, count = scale.of(8.0, 20.0), scale.count(20, 40)
    # The pause is the runs' own: a Retry-After would pause the credential, and most of them would only wait for their turn.
    backoff = {"NOUKAI_WORKER_BACKOFF_BASE": str(2 * pause)}  # jittered: half of it at least
    with house(folder, scale, package=package, **backoff) as it:
        for name in ("a", "b"):
            it.stream(f"stream-{name}")
            it.worker(f"execute-{name}")
        it.ready()
        it.flow_server.order(times=count, flow=RETRIED, status=503)
        it.enqueuer("delayed", count=count, rate=1000, flow=DELAYED, fields={"delay": pause})
        it.enqueuer("retried", count=count, rate=1000, flow=RETRIED)
        runs = it.enqueued()
        retried = [run for run in runs if run.message.startswith("retried")]

        def all_wait() -> bool:
            return all(record.entries[-1]["type"] == "run.retrying" for record in it.records(retried))

        it.until(all_wait, "every run was sent away")
        for name in ("stream-a", "execute-a"):
            it.kill(name)
        it.fault("SIGTERM Redis")
        it.redis_server.stop()
        it.redis_server.start()
        back = time.time()
        it.ended(runs, within=2 * pause + 60)
        logs = it.judge(figures)
        left = min(moment(record.entries[0]) for record in logs) + pause - back
        figures.own["seconds left when Redis was back"] = round(left, 1)
        figures.demand(left > 0, "the machine was too slow: the first were due before Redis was back")
        late = [seconds for record in logs for seconds in _lateness(record)]
        figures.own["late, seconds (min, max)"] = [round(f(late, default=0.0), 2) for f in (min, max)]
        figures.demand(len(late) == len(logs), "not every run was held once")
        figures.demand(min(late, default=0) >= 0, "a run began before it was due")
        limit = scale.sweep + scale.of(2.5, 1.0)  # sending, fetching, claiming; tests share their machine
        figures.demand(
            max(late, default=0) <= limit, f"{sum(s > limit for s in late)} runs began more than {limit} s late"
        )
    return figures


def _lateness(record: Record) -> list[float]:
    """How long after it was due each attempt began that had been put off."""
    late = []
    due = None
    for entry in record.entries:
        if entry["type"] in ("run.queued", "run.retrying") and entry["data"]["delay"]:
            due = moment(entry) + entry["data"]["delay"]
        elif entry["type"] == "run.started" and due is not None:
            late.append(moment(entry) - due)
            due = None
    return late
