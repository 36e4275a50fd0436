"""Row 2: Redis goes away under load and comes back: told to stop, killed, away for long; and as after a power cut."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from noukai_worker.errors import RunNotFound
from noukai_worker.runs import RunStore, operations

from ..evidence import Accepted, Record
from ..figures import Figures
from ..house import House, house
from ..readers import Audience
from ..scale import Scale

TITLE = "Redis restarted under load: SIGTERM, kill -9, away for 20 s"
POWER_TITLE = "the power fails: Redis comes back without what it had not yet synced (the last second)"
LOAD = {"parameters": {"steps": 6, "events": 10, "interval": 0.06, "bytes": 100}}
READERS = 20


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """Nothing that was acknowledged may be gone, and no worker may have been restarted."""
    figures = Figures("2")
    with house(folder, scale, package=package) as it:
        audience = _under_load(it, scale.count(70, 400), scale.of(10.0, 100.0))
        for how, away in (("SIGTERM", 0.5), ("kill -9", 0.5), ("SIGTERM", scale.of(4.0, 20.0))):
            _in_flight(it)
            it.fault(f"{how}, away {away:g} s")
            figures.own[f"{how} + {away:g} s: seconds until it answered again"] = round(_restart(it, how, away), 1)
        runs = it.enqueued()
        it.ended(runs, within=scale.of(60.0, 120.0))
        it.judge(figures)
        audience.settle()
        broken = audience.broken()
        figures.demand(not broken, f"{len(broken)} readers did not get every entry once: {broken[:3]}")
        restarted = [name for name, process in it.kept.items() if len(process.starts) > 1]
        figures.demand(not restarted, f"processes died of it: {restarted}")
        figures.demand(len(figures.recoveries) >= figures.faults, "hardly any run was in flight")
        limit = scale.of(4.0, 20.0) + scale.lease + 8
        figures.demand(max(figures.recoveries, default=0) < limit, f"recovery took more than {limit} s")
    return figures


def power_cut(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """What was acknowledged in the last second may be gone; whoever asks for it is told so."""
    figures = Figures("2p")
    with house(folder, scale, package=package) as it:
        audience = _under_load(it, scale.count(60, 300), scale.of(6.0, 30.0))
        tail = Tail(it.redis_server.log.parent)
        tail.start()
        _in_flight(it)
        time.sleep(1.5)  # some seconds of history, to lose the last one of them
        it.fault("kill -9, and the last second of the append-only file is gone")
        positions = {reader.run.id: len(reader.seqs) for reader in audience.readers}
        it.redis_server.kill()
        figures.own["bytes lost"] = tail.cut(1.0)
        it.redis_server.start()
        runs = it.enqueued()
        there, gone = _asked_for(it, runs)
        it.ended(there, within=scale.of(60.0, 120.0))
        logs = [record for record in it.judge(figures) if record.run in there]
        audience.settle()
        _what_was_said(figures, audience, {record.run.id: record for record in logs}, positions)
        # What is gone was announced (RunNotFound); it is no log with a hole, and its steps are not known to have finished.
        figures.own["runs gone, told as RunNotFound"] = len(gone)
        figures.lost = [run_id for run_id in figures.lost if run_id not in gone]
        figures.bad_logs = [said for said in figures.bad_logs if said.split()[0] not in gone]
        figures.own["steps done again, their end was in the lost second"] = (
            len(figures.steps_again) + figures.step_ends_unknown
        )
        figures.own["executes done again, their claim was in the lost second"] = len(figures.executes_twice)
        figures.steps_again, figures.executes_twice = [], []
        figures.demand(figures.own["bytes lost"], "nothing was lost: the row proves nothing")
    return figures


class Tail(threading.Thread):
    """Remembers how long the append-only file was, so that its last seconds can be cut off: what a power cut does to `everysec`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        (self._file,) = folder.glob("appendonlydir/*.incr.aof")
        self._sizes: list[tuple[float, int]] = []
        self._over = threading.Event()

    def run(self) -> None:
        """Look 50 times a second."""
        while not self._over.wait(0.02):
            self._sizes.append((time.monotonic(), self._file.stat().st_size))

    def cut(self, seconds: float) -> int:
        """Forget what was written in the last `seconds`; the bytes."""
        self._over.set()
        self.join()
        end = time.monotonic() - seconds
        kept = max((size for at, size in self._sizes if at <= end), default=0)
        lost = self._file.stat().st_size - kept
        os.truncate(self._file, kept)
        return lost


def _under_load(it: House, count: int, seconds: float) -> Audience:
    _, port = it.web()
    it.stream("stream-a")
    it.stream("stream-b")
    it.worker("execute")
    it.ready()
    audience = Audience(port)
    audience.start()
    it.enqueuer("teller", count=count, rate=count / seconds, fields=LOAD)
    it.until(lambda: len(it.accepted()) >= min(READERS, count // 3), "runs are accepted")
    for run in it.accepted()[:READERS]:
        audience.attend(run)
    return audience


def _in_flight(it: House) -> None:
    """Wait until a few runs are in the middle of their work."""

    def some() -> bool:
        records = it.records(it.accepted()[-20:])
        return sum(record.end is None and len(record.entries) > 5 for record in records) >= 3

    it.until(some, "runs are in flight")


def _restart(it: House, how: str, away: float) -> float:
    begin = time.monotonic()
    if how == "SIGTERM":
        it.redis_server.stop()
    else:
        it.redis_server.kill()
    time.sleep(away)  # the outage
    it.redis_server.start()
    return time.monotonic() - begin


def _asked_for(it: House, runs: list[Accepted]) -> tuple[list[Accepted], set[str]]:
    """Those that are there, and the ids of those of which our own store says that they are not."""
    store, gone = RunStore(it.redis_server.url), set[str]()
    for run in runs:
        try:
            store.perform(operations.show(run.id))
        except RunNotFound:
            gone.add(run.id)
    store.close()
    return [run for run in runs if run.id not in gone], gone


def _what_was_said(figures: Figures, audience: Audience, logs: dict[str, Record], positions: dict[str, int]) -> None:
    told = [code for reader in audience.readers for code in reader.told]
    figures.own["readers told"] = {code: told.count(code) for code in sorted(set(told))}
    unlike = 0
    for reader in audience.readers:
        record = logs.get(reader.run.id)
        if record is None:
            figures.demand(reader.told, f"a reader of {reader.run.id}, which is gone, was told nothing")
            continue
        numbers = [entry["seq"] for entry in record.entries if entry["seq"] in reader.lines]
        same = all(record.raw[seq - 1] == reader.lines[seq] for seq in numbers)
        unlike += not same and not reader.told
        figures.demand(reader.ended or reader.told, f"a reader of {reader.run.id} got neither an end nor a word")
    figures.own["readers"] = len(positions)
    figures.own["readers whose past was written anew without a word"] = unlike
    figures.demand(not unlike, f"the past of {unlike} readers was written anew without a word")
