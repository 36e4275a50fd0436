from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from noukai_worker.dev.demo import ACTS, DemoOverdue, play
from tests.support.processes import until

from .conftest import CommandLine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def test_three_runs_complete_in_half_a_minute(alone: Callable[..., CommandLine]) -> None:
    # A real key in the environment is not the demo's business.
    begin = time.monotonic()
    answer = alone(NOUKAI_API_KEY="nk_live_real", NOUKAI_REDIS_URL="redis://127.0.0.1:1/0")("demo", "--json")
    took = time.monotonic() - begin
    assert answer.returncode == 0, answer.stderr
    assert took < 30
    runs: dict[str, list[dict[str, object]]] = {}
    for line in answer.stdout.splitlines():
        entry = json.loads(line)
        runs.setdefault(entry["run_id"], []).append(entry)
    assert len(runs) == 3
    for entries in runs.values():
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
        assert entries[-1]["type"] == "run.completed"
    # The runs are seen side by side, not one after the other.
    ids = [json.loads(line)["run_id"] for line in answer.stdout.splitlines()]
    assert len({*ids[:10]}) > 1
    summary = answer.stderr.splitlines()
    assert [line.split(" ")[0] for line in summary] == [act.flow for act in ACTS]
    assert all("): completed, " in line for line in summary)


def test_interrupted_it_stops_and_leaves_nothing(alone: Callable[..., CommandLine], tmp_path: Path) -> None:
    with alone(TMPDIR=str(tmp_path)).start("demo", "--json") as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "stopped\n"
    until(lambda: [*tmp_path.iterdir()] == [], "nothing is left")


def test_it_does_not_go_on_for_ever(tmp_path: Path) -> None:
    with pytest.raises(DemoOverdue, match=r"within 0\.2 s"):
        play(lambda *_: None, tmp_path / "log", limit=0.2)
