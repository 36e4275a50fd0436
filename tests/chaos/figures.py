"""What a row has shown: the figures that must be zero, how long recovery took, and what the row measured besides."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Figures:
    """One row's figures. Lists name the runs concerned, so that a failure can be looked into."""

    row: str
    runs: int = 0
    faults: int = 0
    lost: list[str] = field(default_factory=list)
    """Accepted, and never ended."""
    steps_again: list[str] = field(default_factory=list)
    """Steps that were begun again although the run's log had them as finished."""
    executes_twice: list[str] = field(default_factory=list)
    """Execute runs and jobs that the service has carried out more than once."""
    bad_logs: list[str] = field(default_factory=list)
    """Logs with a hole, without an end, with something behind the end, or with an entry of a fenced attempt."""
    failed: dict[str, int] = field(default_factory=dict)
    """Runs that ended otherwise than completed, by code; those that a row expects to fail are left out."""
    immortal: list[str] = field(default_factory=list)
    """Keys of ours without a time to live."""
    secrets: list[str] = field(default_factory=list)
    """Keys that hold the API key."""
    recovered: dict[str, list[float]] = field(default_factory=dict)
    """By fault: seconds to the next progress, for each run that it hit."""
    step_ends_unknown: int = 0
    """Steps done again that had ended at the service when the connection or the worker died: nobody here could know."""
    own: dict[str, Any] = field(default_factory=dict)
    """What only this row measures."""
    complaints: list[str] = field(default_factory=list)
    """What only this row demands, and did not get."""
    seconds: float = 0.0
    load: float = 0.0
    """The machine's load average (1 minute) at the end."""

    @property
    def recoveries(self) -> list[float]:
        """Of all faults."""
        return [seconds for found in self.recovered.values() for seconds in found]

    def demand(self, met: object, what: str) -> None:
        """A condition of this row alone."""
        if not met:
            self.complaints.append(what)

    @property
    def red(self) -> list[str]:
        """All that breaks a law; empty for a row that holds."""
        said = [
            f"{len(found)} {what}: {', '.join(found[:3])}"
            for what, found in (
                ("runs lost", self.lost),
                ("finished steps executed again", self.steps_again),
                ("executes paid twice", self.executes_twice),
                ("logs broken", self.bad_logs),
                ("keys without an expiry", self.immortal),
                ("keys holding a secret", self.secrets),
            )
            if found
        ]
        said += [f"{count} runs failed: {code}" for code, count in self.failed.items()]
        return said + self.complaints

    def json(self) -> dict[str, Any]:
        """As a JSON object."""
        recovered = {what: summary(found) for what, found in self.recovered.items()}
        return asdict(self) | {"red": self.red, "recovered": recovered}

    def line(self) -> list[str]:
        """As a line of the table."""
        recovery = summary(self.recoveries)
        cells = [self.row, self.runs, self.faults, len(self.lost), len(self.steps_again), len(self.executes_twice)]
        cells += [len(self.bad_logs), sum(self.failed.values())]
        return [*map(str, cells), f"{recovery['median']:.1f} / {recovery['max']:.1f}" if self.recoveries else "-"]


HEADINGS = [
    "row",
    "runs",
    "faults",
    "lost",
    "steps again",
    "paid twice",
    "bad logs",
    "failed",
    "recovery s (med / max)",
]


def table(rows: Sequence[Sequence[str]], headings: Sequence[str] = HEADINGS) -> str:
    """Columns of text."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(headings))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def summary(values: Sequence[float]) -> Mapping[str, float]:
    """Count, median and maximum."""
    if not values:
        return {"count": 0}
    return {"count": len(values), "median": round(statistics.median(values), 3), "max": round(max(values), 3)}
