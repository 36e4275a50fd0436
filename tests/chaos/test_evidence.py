"""What judges the rows must be able to find fault: logs made by hand, and the patches of row 10."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .evidence import Accepted, Fault, Record, judge
from .figures import Figures
from .patches import PATCHES, Patch
from .rows import ROWS

RUN = Accepted("r", "stream", "m-1", "t")
QUEUED, DONE = ("run.queued", 0, {"delay": 0}), ("run.completed", 1, {})


def started(attempt: int, step: int = 0, worker: str = "a@host") -> tuple[str, int, dict[str, Any]]:
    return "run.started", attempt, {"attempt": attempt, "resumed_at_step": step, "worker": worker}


def step(kind: str, index: int, attempt: int = 1) -> tuple[str, int, dict[str, Any]]:
    return f"step_{kind}", attempt, {"stepIndex": index, "stepId": f"s{index}"}


def record(*written: tuple[str, int, dict[str, Any]], run: Accepted = RUN) -> Record:
    """A log with an entry a second."""
    entries = [
        {"run_id": "r", "seq": n, "type": kind, "attempt": attempt, "data": data, "at": f"2026-11-22T06:00:{n:02}.000Z"}
        for n, (kind, attempt, data) in enumerate(written, 1)
    ]
    ids = tuple(f"{entry['seq']}-0" for entry in entries)
    return Record(run, ids, tuple(json.dumps(entry).encode() for entry in entries), entries)


def without(whole: Record, seq: int) -> Record:
    entries = [entry for entry in whole.entries if entry["seq"] != seq]
    return Record(whole.run, tuple(f"{entry['seq']}-0" for entry in entries), whole.raw, entries)


WHOLE = record(QUEUED, started(1), step("started", 0), step("completed", 0), DONE)


def test_a_whole_log_is_not_complained_of() -> None:
    assert WHOLE.complaint() is None


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        (without(WHOLE, 3), "ids have a hole"),
        (record(QUEUED, started(1), DONE, step("started", 0)), "something behind the end"),
        (record(QUEUED, started(1), started(2), step("started", 0, attempt=1), DONE), "an entry of a fenced attempt"),
        (record(QUEUED, started(2)), "attempts do not count 1, 2, 3"),
        (record(QUEUED, started(1)), "no end"),
        (record(), "no end"),
    ],
)
def test_a_broken_log_is_complained_of(log: Record, complaint: str) -> None:
    assert log.complaint() == complaint


def test_a_step_that_is_begun_again_after_its_end_is_found_in_the_log() -> None:
    log = record(
        QUEUED, started(1), step("completed", 0), started(2, 0), step("started", 0, 2), ("run.completed", 2, {})
    )
    assert log.steps_again({}) == ["r s0"]


def test_a_step_that_is_begun_again_after_its_end_is_found_by_the_services_count() -> None:
    log = record(QUEUED, started(1), step("completed", 0), started(2, 1), ("run.completed", 2, {}))
    assert log.steps_again({"s0": {"started": 1}}) == []
    assert log.steps_again({"s0": {"started": 2}}) == ["r s0"]


def test_a_step_that_was_cut_off_may_be_begun_again() -> None:
    log = record(QUEUED, started(1), started(2), step("completed", 0, 2), ("run.completed", 2, {}))
    assert log.steps_again({"s0": {"started": 2}}) == []


def test_lost_runs_and_double_executions_are_counted() -> None:
    ledger = {"messages": {"m-1": {"executions": 2, "steps": {}}}}
    paid_twice = record(QUEUED, started(1), DONE, run=Accepted("r", "execute", "m-1", "t"))
    figures = judge(Figures("x"), [record(QUEUED), paid_twice], ledger)
    assert (figures.lost, figures.executes_twice) == (["r"], ["r"])
    assert len(figures.red) == 3


def test_recovery_is_the_time_to_the_next_progress_of_a_run_that_was_hit() -> None:
    log = record(QUEUED, started(1), ("run.retrying", 1, {}), started(2, worker="b@host"), ("run.completed", 2, {}))
    begun = 1795327202.0  # 06:00:02
    assert log.recovery(Fault(begun, "kill", "a")) == 2.0
    assert log.recovery(Fault(begun, "kill", "b")) is None
    assert log.recovery(Fault(begun + 10, "kill", "a")) is None


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.what)
def test_every_broken_law_can_still_be_broken(patch: Patch, tmp_path: Path) -> None:
    assert patch.row in ROWS
    patch.copy_to(tmp_path)


def test_every_law_is_broken_by_some_patch() -> None:
    assert {patch.law for patch in PATCHES} == set(range(1, 11))
