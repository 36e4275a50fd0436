"""The laws of the project, each broken on purpose in a copy of the package, and the row that must go red for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "noukai_worker"


@dataclass(frozen=True, slots=True)
class Patch:
    """`changes` are (file, text, replacement); `row` must go red with a complaint that holds the word `because`."""

    law: int
    what: str
    row: str
    because: str
    changes: tuple[tuple[str, str, str], ...]

    def copy_to(self, folder: Path) -> Path:
        """A copy of the package with the change; where to import it from. Raises LookupError for a text that is not there once."""
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        for name, text, replacement in self.changes:
            path = folder / PACKAGE.name / name
            code = path.read_text()
            if code.count(text) != 1:
                raise LookupError(
                    f"law {self.law}: {name} has {code.count(text)} times {text!r}; mend tests/chaos/patches.py"
                )
            path.write_text(code.replace(text, replacement))
        return folder


_CANCEL = """self._gone = True
        from ..runs import operations
        await self._hub.perform(operations.cancel(self._subscription.run_id))
"""

PATCHES = (
    Patch(
        1,
        "a message bears another id than its run",
        "7",
        "not within .* sent away",
        (
            (
                "tasks/dispatch.py",
                "task.publish(*arguments(request), run_id, {**_RETRIED",
                "task.publish(*arguments(request), run_id[::-1], {**_RETRIED",
            ),
        ),
    ),
    Patch(
        2,
        "a number is left out",
        "7",
        "logs broken",
        (("runs/scripts/advance.lua", "  seq = seq + 1\n", "  seq = seq + 2\n"),),
    ),
    Patch(
        3,
        "entries are logged, and not published",
        "8",
        "late",
        (("runs/scripts/prelude.lua", "  redis.call(PUBLISH, 'noukai:{' .. id .. '}:events', entry)\n", ""),),
    ),
    Patch(
        4,
        "a write with an older attempt is taken",
        "3",
        "logs",
        (
            ("runs/scripts/advance.lua", "if r[2] ~= attempt then", "if false then"),
            ("runs/scripts/advance.lua", "if state ~= 'running' or last ~= seq then", "seq = last\nif false then"),
            ("runs/scripts/advance.lua", "if to ~= '' and not legal(state, to) then", "if false then"),
        ),
    ),
    Patch(
        5,
        "the sweeper does nothing",
        "7",
        "runs lost",
        (("sweeper.py", "self._look_at(run_id, found.patient or time.monotonic() < self._patient_until)", "pass"),),
    ),
    Patch(
        6,
        "a step's end is not in the checkpoint",
        "4",
        "finished steps executed again",
        (("runs/scripts/advance.lua", "if ARGV[9] ~= '' then change('step_index', ARGV[9]) end", ""),),
    ),
    Patch(
        6,
        "an execute call that was cut off is simply made again",
        "5",
        "executes paid twice",
        (("runs/scripts/claim.lua", "(r[18] ~= '0' and tonumber(r[18]) < attempt) and 1 or 0", "0"),),
    ),
    Patch(
        7,
        "a position ahead of the log is waited for",
        "2p",
        "without a word",
        (("runs/scripts/read.lua", "if after > last then", "if false then"),),
    ),
    Patch(
        8,
        "times to live are not set",
        "7",
        "keys without an expiry",
        (("runs/scripts/prelude.lua", "for _, key in ipairs({...}) do", "for _, key in ipairs({}) do"),),
    ),
    Patch(
        9,
        "a browser that is closed cancels its run",
        "8",
        "run.cancelled",
        (("web/stream.py", "self._gone = True\n", _CANCEL),),
    ),
    Patch(
        9,
        "a reader's bytes are kept for it, however many",
        "8",
        "grew by",
        (
            (
                "web/stream.py",
                'await send({"type": "http.response.body", "body": piece, "more_body": True})',
                'asyncio.ensure_future(send({"type": "http.response.body", "body": piece, "more_body": True}))',
            ),
        ),
    ),
    Patch(
        10,
        "the key is in the log",
        "7",
        "keys holding a secret",
        (("tasks/attempt.py", "worker=task.worker)", 'worker=task.worker + settings.key("default"))'),),
    ),
)
