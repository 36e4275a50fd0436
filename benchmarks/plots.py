"""Draws how cost grows, from what the growth measurements wrote: `python -m benchmarks.plots docs/growth`, which holds the JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot

PICTURES = {
    "flows": ("flows", "flows in flight in one worker, an event a second each"),
    "readers": ("readers", "readers of one web process"),
    "entries": ("entries", "entries of one log"),
}
FIGURES = {
    "cpu_us_per_event": "CPU µs per event",
    "cpu_us_per_delivery": "CPU µs per delivery",
    "memory_mb": "MB",
    "log_mb": "MB of the log (MEMORY USAGE)",
}
"""What is drawn of each row, with its unit; one panel each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    for name, (axis, title) in PICTURES.items():
        rows = json.loads((folder / f"{name}.json").read_text())
        draw(rows, axis, title, folder / f"{name}.png")


def draw(rows: list[dict[str, Any]], axis: str, title: str, to: Path) -> None:
    """One panel for each figure that the rows have; both axes begin at 0, so that a straight line is one."""
    shown = [name for name in FIGURES if name in rows[0]]
    picture, panels = pyplot.subplots(1, len(shown), figsize=(5 * len(shown), 3.2), squeeze=False)
    for panel, name in zip(panels[0], shown, strict=True):
        panel.plot([row[axis] for row in rows], [row[name] for row in rows], marker="o", linewidth=1)
        panel.set(xlabel=title, ylabel=FIGURES[name], xlim=(0, None), ylim=(0, None))
        panel.grid(alpha=0.3)
    picture.tight_layout()
    picture.savefig(to, dpi=90)
    pyplot.close(picture)


if __name__ == "__main__":
    main()
