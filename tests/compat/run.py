"""Plays scenarios with the `noukai_sdk` of the interpreter that runs this, and prints what came of each, a JSON line each.

python tests/compat/run.py [part of a scenario's name]
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import re
import sys
from typing import Any

from scenarios import SCENARIOS, Scenario
from scenarios.stage import Side, forget
from surface import surface

import noukai_sdk

# One that hangs must not take the others' outcomes with it.
_PATIENCE_SECONDS = 30
_IDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b(?:call|req)_[0-9a-f]{8,}", re.IGNORECASE)
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)")


class Normal:
    """Replaces what differs from run to run: ids by their order of appearance, times and durations by a word."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return _TIMES.sub("<time>", _IDS.sub(self._id, value))
        if isinstance(value, dict):
            return {self(key): self._duration(key, item) or self(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self(item) for item in value]
        return value

    @staticmethod
    def _duration(key: str, value: Any) -> str | None:
        return "<ms>" if key == "duration_ms" and type(value) is int else None

    def _id(self, found: re.Match[str]) -> str:
        return self._ids.setdefault(found[0].lower(), f"<id {len(self._ids) + 1}>")


async def play(scenario: Scenario, side: Side) -> Any:
    try:
        return await scenario.play(side)
    finally:
        await side.close()


def outcome(scenario: Scenario, side: str) -> Any:
    forget()
    try:
        if side == "async":
            return Normal()(asyncio.run(play(scenario, Side(side))))
        # The sync client must need no event loop, so there is none.
        try:
            play(scenario, Side(side)).send(None)
        except StopIteration as returned:
            return Normal()(returned.value)
        raise AssertionError("a scenario waits for something with the sync client")
    except Exception as error:
        return {"crashed": f"{type(error).__name__}: {error}"}


def tell(key: str, what: Any) -> None:
    sys.stdout.write(json.dumps([key, what]) + "\n")
    sys.stdout.flush()


def main(part: str = "") -> None:
    # Warnings of what the server was ordered to break are nothing to print.
    logging.getLogger("noukai_sdk").addHandler(logging.NullHandler())
    tell("version", noukai_sdk.__version__)
    tell("surface", surface())
    for name, scenario in SCENARIOS.items():
        for side in scenario.sides:
            if part in (key := f"{name}[{side}]"):
                faulthandler.dump_traceback_later(_PATIENCE_SECONDS, exit=True)
                tell(key, outcome(scenario, side))
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(*sys.argv[1:])
