from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from noukai_worker.cli.screen import JsonScreen, LiveScreen, PlainScreen, SideBySide
from noukai_worker.runs import Entry
from noukai_worker.runs.operations import parse_entry

EVENTS = [
    ("run.queued", {"flow": "acme/demo/a", "mode": "stream", "delay": 0}),
    ("run.started", {"attempt": 1, "resumed_at_step": 0, "worker": "w"}),
    ("run_started", {"stepCount": 1}),
    ("step_started", {"stepId": "a", "name": "Ä"}),
    ("step_output", {"stepId": "a", "outputData": "hello [bold]"}),
    ("step_completed", {"stepId": "a", "name": "Ä", "output": "hello [bold]"}),
    ("run.completed", {"result": "hello [bold]"}),
]
LINES = ["queued acme/demo/a (stream)", "attempt 1 on w", "step 1/1: Ä", "hello [bold]", "done: Ä", "completed"]


def entries(run_id: str = "r1") -> list[Entry]:
    return [
        parse_entry(
            json.dumps(
                {"run_id": run_id, "seq": n, "type": kind, "at": "", "attempt": min(n - 1, 1), "data": data},
                indent=None,
            )
        )
        for n, (kind, data) in enumerate(EVENTS, 1)
    ]


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(
        file=out, force_terminal=terminal, width=100, markup=False, highlight=False, legacy_windows=False
    ), out


def without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_plain_lines() -> None:
    out, text = console(terminal=False)
    with PlainScreen(out, [""]) as screen:
        for entry in entries():
            screen.show("", entry)
    assert text.getvalue().splitlines() == LINES


def test_plain_lines_of_two_runs_are_told_apart() -> None:
    out, text = console(terminal=False)
    with PlainScreen(out, ["a", "long"]) as screen:
        for entry in entries():
            screen.show("a", entry)
            screen.show("long", entry)
    shown = text.getvalue().splitlines()
    assert [line for line in shown if line.startswith("a    | ")] == [f"a    | {line}" for line in LINES]
    assert [line for line in shown if line.startswith("long | ")] == [f"long | {line}" for line in LINES]
    assert len(shown) == 2 * len(LINES)


def test_json_is_what_was_on_the_channel(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with JsonScreen() as screen:
        for entry in entries():
            screen.show("", entry)
    assert capfdbinary.readouterr().out == b"".join(entry.raw + b"\n" for entry in entries())


def test_a_terminal_keeps_every_line_and_loses_the_bar() -> None:
    out, text = console(terminal=True)
    with LiveScreen(out) as screen:
        for entry in entries():
            screen.show("", entry)
    shown = without_codes(text.getvalue())
    assert all(line in shown for line in LINES)
    assert "━" in shown
    assert text.getvalue().endswith("\x1b[1A\x1b[2K")


def test_runs_side_by_side_end_with_their_results() -> None:
    out, text = console(terminal=True)
    with SideBySide(out, ["one", "two"], "starting") as screen:
        for name in ("one", "two"):
            for entry in entries(name):
                screen.show(name, entry)
    shown = without_codes(text.getvalue())
    first, last = shown[: shown.index("╰")], shown[shown.rindex("╮") :]
    assert first.count("starting") == 2
    assert "completed" not in first
    # One in the lines and one beside the bar, for each run.
    assert last.count("completed") == 4
    assert last.count("✓") == 2
