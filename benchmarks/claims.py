"""What a benchmark says: a figure of ours beside a peer's, measured in turn in one run, and the goal that it is held to."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure: `rounds` counted ones after one to warm up; `quick` for a look at a small size."""

    rounds: int = 5
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `rounds` holds pairs of ours and the peer's; without a peer, ours is held to `goal` itself."""

    claim: str
    unit: str
    rounds: Sequence[tuple[float, float | None]]
    goal: float
    more_is_better: bool = True
    peer: str = ""
    absolute: bool = False
    """The goal is a limit for our figure, not for the ratio."""
    overhead: bool = False
    """Less is better, and the ratio is what ours costs in multiples of the peer's: `goal` is the most that it may be."""

    @property
    def ours(self) -> float:
        return statistics.median(ours for ours, _ in self.rounds)

    @property
    def theirs(self) -> float | None:
        known = [theirs for _, theirs in self.rounds if theirs is not None]
        return statistics.median(known) if known else None

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer: the ratio of the medians. For `overhead`, how many times the peer's cost."""
        if self.theirs is None:
            return None
        if self.overhead:
            return self.ours / self.theirs
        return self.ours / self.theirs if self.more_is_better else self.theirs / self.ours

    @property
    def met(self) -> bool:
        if self.absolute or self.ratio is None:
            return self.ours >= self.goal if self.more_is_better else self.ours <= self.goal
        return self.ratio <= self.goal if self.overhead else self.ratio >= self.goal

    def cells(self) -> tuple[str, ...]:
        """The line of a Markdown table: claim, ours, peer's, ratio, goal, whether it is met."""
        held_to_ratio = not self.absolute and self.ratio is not None
        at_most = self.overhead if held_to_ratio else not self.more_is_better
        sign = "≤" if at_most else "≥"
        goal = f"{sign} {self.goal:g}" + ("x" if held_to_ratio else "")
        theirs = "-" if self.theirs is None else f"{shown(self.theirs)} ({self.peer})"
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}x"
        return f"{self.claim}, {self.unit}", shown(self.ours), theirs, ratio, goal, "yes" if self.met else "**no**"


HEADS = ("claim", "ours", "peer's", "ratio", "goal", "met")


def shown(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:,.3g}"


def in_turn(
    options: Options, ours: Callable[[], float], theirs: Callable[[], float | None] = lambda: None
) -> list[tuple[float, float | None]]:
    """Measure one after the other, again and again; the first round only warms up."""
    rounds = []
    for turn in range(options.rounds + 1):
        pair = ours(), theirs()
        if turn:
            rounds.append(pair)
    return rounds


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used, with the children it has waited for (Linux; a tick is a hundredth)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> int:
    """Bytes of memory that a process has to itself (Linux: private pages, resident)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return (sizes["Private_Clean"] + sizes["Private_Dirty"]) * 1024
