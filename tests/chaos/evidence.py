"""Judges what has happened, from the logs as Redis has them (plain XRANGE, none of our readers) and the service's own ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from .figures import Figures

ENDS = {"run.completed", "run.failed", "run.cancelled"}
Entries = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run that somebody was told is accepted. `message` is its own, so the service's ledger knows it by that."""

    id: str
    mode: str
    message: str
    token: str


@dataclass(frozen=True, slots=True)
class Record:
    """An accepted run and its whole log."""

    run: Accepted
    ids: tuple[str, ...]
    raw: tuple[bytes, ...]
    entries: Entries

    @property
    def end(self) -> dict[str, Any] | None:
        """Its terminal entry."""
        last = self.entries[-1] if self.entries else None
        return last if last and last["type"] in ENDS else None

    @property
    def starts(self) -> Entries:
        """Its attempts."""
        return [entry for entry in self.entries if entry["type"] == "run.started"]

    def complaint(self) -> str | None:
        """What is wrong with the log."""
        if list(self.ids) != [f"{n}-0" for n in range(1, len(self.ids) + 1)]:
            return "ids have a hole"
        if [entry["seq"] for entry in self.entries] != list(range(1, len(self.entries) + 1)):
            return "numbers have a hole"
        if any(entry["run_id"] != self.run.id for entry in self.entries):
            return "an entry of another run"
        if any(entry["type"] in ENDS for entry in self.entries[:-1]):
            return "something behind the end"
        attempts = [entry["attempt"] for entry in self.entries]
        if attempts != sorted(attempts):
            return "an entry of a fenced attempt"
        if [entry["attempt"] for entry in self.starts] != list(range(1, len(self.starts) + 1)):
            return "attempts do not count 1, 2, 3"
        return None if self.end else "no end"

    def steps_again(self, steps: Mapping[str, Mapping[str, int]]) -> list[str]:
        """Steps that some attempt began after the log had them as finished: by the log, and by what the service counted."""
        finished: dict[int, tuple[str, int]] = {}
        again = []
        for entry in self.entries:
            if entry["type"] not in ("step_started", "step_completed"):
                continue
            index, step = entry["data"].get("stepIndex"), entry["data"].get("stepId")
            if index is None:  # a malformed frame, as it came: it says nothing
                continue
            if index in finished:
                again.append(f"{self.run.id} {step}")
            elif entry["type"] == "step_completed":
                finished[index] = step, entry["attempt"]
        for index, (step, attempt) in finished.items():
            may_have_begun_it = [
                s for s in self.starts if s["attempt"] <= attempt and s["data"]["resumed_at_step"] <= index
            ]
            if steps.get(step, {}).get("started", 0) > len(may_have_begun_it):
                again.append(f"{self.run.id} {step}")
        return sorted(set(again))

    def recovery(self, fault: Fault) -> float | None:
        """Seconds from a fault that hit this run to its next progress; None if it was not hit, or never went on."""
        before = [entry for entry in self.entries if moment(entry) <= fault.at]
        attempt = next((entry for entry in reversed(before) if entry["type"] == "run.started"), None)
        if not before or before[-1]["type"] in ENDS or before[-1]["type"] == "run.retrying" or attempt is None:
            return None
        if not fault.worker and self.run.mode != "stream":
            return None  # it shows nothing before its end, and was not hit
        if fault.worker and not str(attempt["data"]["worker"]).startswith(f"{fault.worker}@"):
            return None
        after = (entry for entry in self.entries[len(before) :] if entry["type"] != "run.retrying")
        return next((moment(entry) - fault.at for entry in after), None)


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done at a moment (Unix seconds), and to which worker (by node name); without one, to all runs."""

    at: float
    what: str
    worker: str | None = None


def moment(entry: Mapping[str, Any]) -> float:
    """When an entry was written, in Unix seconds."""
    return datetime.fromisoformat(entry["at"]).timestamp()


def records(client: redis.Redis, runs: Sequence[Accepted]) -> list[Record]:
    """The runs with their logs."""
    found = []
    for run in runs:
        items: Any = client.xrange(f"noukai:{{{run.id}}}:log")
        raw = tuple(item[b"entry"] for _, item in items)
        found.append(Record(run, tuple(id_.decode() for id_, _ in items), raw, [json.loads(entry) for entry in raw]))
    return found


def unended(client: redis.Redis, runs: Iterable[Accepted]) -> list[Accepted]:
    """Those whose log has no terminal entry."""
    runs = list(runs)
    with client.pipeline(transaction=False) as trip:
        for run in runs:
            trip.xrevrange(f"noukai:{{{run.id}}}:log", count=1)
        answers = trip.execute()
    return [
        run
        for run, answer in zip(runs, answers, strict=True)
        if not answer or json.loads(answer[0][1][b"entry"])["type"] not in ENDS
    ]


def judge(
    figures: Figures,
    logs: Sequence[Record],
    ledger: Mapping[str, Any],
    faults: Sequence[Fault] = (),
    *,
    expected_failures: Iterable[str] = (),
) -> Figures:
    """Fill in what every row counts. `expected_failures` are codes that this row orders."""
    by_message = ledger["messages"]
    failed: Counter[str] = Counter()
    for record in logs:
        told = by_message.get(record.run.message, {"executions": 0, "steps": {}})
        if record.end is None:
            figures.lost.append(record.run.id)
        if complaint := record.complaint():
            figures.bad_logs.append(f"{record.run.id} {complaint}")
        if record.end and record.end["type"] != "run.completed":
            failed[str(record.end["data"].get("code", record.end["type"]))] += 1
        if record.run.mode != "stream":
            if told["executions"] > 1:
                figures.executes_twice.append(record.run.id)
        else:
            again = record.steps_again(told["steps"])
            figures.steps_again += again
            repeated = sum(max(0, marks["completed"] - 1) for marks in told["steps"].values())
            figures.step_ends_unknown += max(0, repeated - len(again))
        for fault in faults:
            if (seconds := record.recovery(fault)) is not None:
                figures.recovered.setdefault(fault.what, []).append(seconds)
    for code in expected_failures:
        failed.pop(code, None)
    figures.failed = dict(failed)
    figures.runs += len(logs)
    figures.faults += len(faults)
    return figures


def search(figures: Figures, client: redis.Redis, secret: str) -> Figures:
    """Look through all of Redis for keys without a time to live (law 8) and for the secret (law 10)."""
    for key in client.scan_iter("*", count=1000):
        kind = client.type(key)
        if key.startswith(b"noukai:") and client.pttl(key) == -1:
            figures.immortal.append(key.decode())
        read = {b"string": "get", b"hash": "hgetall", b"list": "lrange", b"stream": "xrange", b"zset": "zrange"}.get(
            kind
        )
        limits = (0, -1) if read in ("lrange", "zrange") else ()
        if read and secret in repr(getattr(client, read)(key, *limits)):
            figures.secrets.append(key.decode())
    return figures
