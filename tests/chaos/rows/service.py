"""Row 5: the service is the one that misbehaves: away, overloaded, cut off at every event, silent, garbled, failing for good."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.processes import until

from ..evidence import Record
from ..figures import Figures
from ..house import LOAD, House, house
from ..scale import Scale

TITLE = "the service: 503, a storm of 429, cuts at every event, stalls, malformed frames, a step that fails for good"
STORY, HOPELESS = "acme/chaos/story", "acme/chaos/hopeless"
SILENCE = 2.0
"""The request timeout of the workers, in seconds."""
EXCUSED = 0.5
"""Seconds after the first 429 in which calls are excused that were on their way."""


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """One kind of trouble after the other, on one streaming and one execute worker."""
    figures = Figures("5")
    with house(folder, scale, package=package, NOUKAI_WORKER_REQUEST_TIMEOUT=str(SILENCE)) as it:
        it.web()
        it.stream()
        it.worker()
        it.ready()
        _away(it, figures, scale)
        _storm(it, figures, scale)
        _spoilt(it, figures)
        logs = it.judge(figures, expected_failures=("MODEL_GONE", "FLOW_FAILED"))
        _how_spoilt_runs_ended(figures, logs)
    return figures


def _away(it: House, figures: Figures, scale: Scale) -> None:
    """503 for a while: every run waits for the end of it."""
    it.flow_server.order(times=1_000_000, status=503, code="SERVICE_UNAVAILABLE")
    load = {"parameters": {"steps": 2, "events": 5, "interval": 0.01}}
    runs = [it.post(LOAD, f"away-{mode}-{n}", mode, **load) for n in range(scale.count(10, 100)) for mode in it.modes]
    time.sleep(scale.of(3.0, 30.0))  # the outage of the service
    it.calm()
    begin = time.monotonic()
    it.ended(runs, within=scale.of(30.0, 180.0))
    figures.own["503: seconds from its end to the last run's"] = round(time.monotonic() - begin, 1)


def _storm(it: House, figures: Figures, scale: Scale) -> None:
    """429 with Retry-After to everybody at once: the calls that follow, by the service's clock."""
    pause, count = scale.of(3.0, 10.0), scale.count(40, 150)
    it.flow_server.order(times=1_000_000, status=429, retry_after=pause)
    load = {"parameters": {"steps": 1, "events": 5, "interval": 0.01}}
    with ThreadPoolExecutor(8) as together:
        runs = [*together.map(lambda n: it.post(LOAD, f"storm-{n}", it.modes[n % 2], **load), range(count))]
    until(lambda: _calls(it), "the storm has begun")
    first = _calls(it)[0]["at"]
    while time.time() < first + pause * 0.9:
        time.sleep(0.05)
    it.calm()
    it.ended(runs, within=60)
    calls = _calls(it)
    seconds = Counter(int(call["at"] - first) for call in calls)
    figures.own["429: calls in each second from the first"] = [seconds[n] for n in range(max(seconds) + 1)]
    early = 0
    by_run: dict[str, list[dict[str, Any]]] = {}
    for call in calls:
        by_run.setdefault(call["message"], []).append(call)
    for own in by_run.values():
        early += sum(b["at"] - a["at"] < pause for a, b in itertools.pairwise(own) if a["status"] == 429)
    figures.demand(not early, f"429: {early} calls of a run came before its Retry-After was over")
    while_paused = sum(EXCUSED < call["at"] - first < pause for call in calls)
    figures.own["429: calls while the credential should pause"] = while_paused
    after = Counter(int((call["at"] - first) * 10) for call in calls if call["at"] - first >= pause)
    figures.own["429: most calls in a tenth of a second afterwards"] = max(after.values())
    figures.demand(not while_paused, f"429: {while_paused} calls before the credential's Retry-After was over")
    figures.demand(max(after.values()) <= max(5, count // 5), f"429: a herd of {max(after.values())} calls at once")


def _calls(it: House) -> list[dict[str, Any]]:
    requests = it.flow_server.counts()["requests"]
    return [call for call in requests if (call["message"] or "").startswith("storm-")]


def _spoilt(it: House, figures: Figures) -> None:
    """One run for each event of a flow and each way to spoil it there, all at once."""
    whole = it.post(STORY, "whole", "stream")
    it.ended([whole])
    (record,) = it.records([whole])
    events = sum(not entry["type"].startswith("run.") for entry in record.entries)
    figures.own["events of the flow"] = events
    runs = [it.post(HOPELESS, f"hopeless-{mode}", mode) for mode in it.modes]
    for n in range(events + 1):
        it.flow_server.order(for_message=f"cut-{n}", drop_after_events=n)
        it.flow_server.order(for_message=f"reset-{n}", drop_after_events=n, reset=True)
        it.flow_server.order(for_message=f"malformed-{n}", malformed_after_events=n)
        it.flow_server.order(for_message=f"stall-{n}", stall_after_events=n, seconds=3 * SILENCE)
        runs += [it.post(STORY, f"{kind}-{n}", "stream") for kind in ("cut", "reset", "malformed", "stall")]
    for n in range(5):
        it.flow_server.order(for_message=f"unsent-{n}", endpoint="execute", cut_before_work=True)
        it.flow_server.order(for_message=f"unanswered-{n}", endpoint="execute", cut_after_work=True)
        runs += [it.post(STORY, f"{kind}-{n}", "execute") for kind in ("unsent", "unanswered")]
    it.ended(runs, within=60)
    figures.faults += len(runs)


def _how_spoilt_runs_ended(figures: Figures, logs: list[Record]) -> None:
    attempts: dict[str, list[int]] = {}
    for record in logs:
        kind, _, _ = record.run.message.partition("-")
        attempts.setdefault(kind, []).append(len(record.starts))
        if kind == "hopeless":
            end = record.end or {"data": {}}
            code = end["data"].get("code")
            figures.demand(code in ("MODEL_GONE", "FLOW_FAILED"), f"{record.run.message} ended as {end}")
            figures.demand(len(record.starts) == 1, f"{record.run.message} was tried again")
        elif kind in ("cut", "reset", "stall"):
            data = [e["data"] for e in record.entries if e["type"] == "step_completed"]
            figures.demand(
                [step["stepIndex"] for step in data] == [0, 1], f"{record.run.message}: not each step once in its log"
            )
    figures.own["attempts, at most"] = {kind: max(counts) for kind, counts in attempts.items()}
