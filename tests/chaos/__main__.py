"""Plays rows and prints their figures: `./run chaos [--row 1 …] [--short] [--minutes 20] [--runs 500] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from .figures import Figures, table
from .rows import ROWS
from .scale import Scale


def main() -> int:
    """The exit code: 1 if a row is red."""
    parser = argparse.ArgumentParser(
        prog="./run chaos", description="Play the rows of the chaos suite in their long form."
    )
    parser.add_argument("--row", action="append", metavar="N", help="only this row (repeatable)")
    parser.add_argument("--short", action="store_true", help="the short form, as in the tests")
    parser.add_argument("--minutes", type=float, help="how long, for rows that take a while")
    parser.add_argument("--runs", type=int, help="how many runs, for rows that count them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the processes' logs there")
    options = parser.parse_args()
    scale = Scale(long=not options.short, runs=options.runs, minutes=options.minutes)
    played = []
    with tempfile.TemporaryDirectory(prefix="noukai-chaos-") as name:
        for row in _chosen(parser, options.row):
            print(f"row {row}: {ROWS[row].title} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
            figures = play(row, scale, (options.keep or Path(name)) / f"row-{row}")
            played.append(figures)
            print(
                json.dumps(figures.json()["own"]),
                *(f"RED: {red}" for red in figures.red),
                sep="\n",
                file=sys.stderr,
                flush=True,
            )
    print(table([figures.line() for figures in played]))
    if options.json:
        options.json.write_text(json.dumps([figures.json() for figures in played], indent=1))
    return int(any(figures.red for figures in played))


def _chosen(parser: argparse.ArgumentParser, wanted: list[str] | None) -> list[str]:
    chosen = [row for row in ROWS if not wanted or row in wanted or row.rstrip("p") in wanted]
    if not chosen:
        parser.error(f"there is no such row; there are: {', '.join(ROWS)}")
    return chosen


def play(row: str, scale: Scale, folder: Path) -> Figures:
    """One row, with its time and the machine's load."""
    begin = time.monotonic()
    figures: Figures = ROWS[row].play(scale, folder)
    figures.seconds, figures.load = round(time.monotonic() - begin, 1), round(os.getloadavg()[0], 1)
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
