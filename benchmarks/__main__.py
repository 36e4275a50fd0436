"""All claims of speed, each against what one would otherwise write, in one run: `./run bench [claim …] [--rounds 5] [--quick]`.

Exits with 1 if a goal is missed. Port 8080 must be free: the published SDK finds its server there and nowhere else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

from .claims import HEADS, Options, Row

CLAIMS = (
    "relay",
    "flows",
    "latency",
    "fanout",
    "late_join",
    "execute",
    "enqueue",
    "entry_cost",
    "upstream_bytes",
    "startup",
)
"""The modules, in the order of the table; each has `measure(options)`, which gives its rows."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*", metavar="claim", help=f"of {', '.join(CLAIMS)}; all, unless named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
    options = parser.parse_args()
    if unknown := set(options.claims) - set(CLAIMS):
        parser.error(f"no claim is called {', '.join(sorted(unknown))}; there are {', '.join(CLAIMS)}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}", file=sys.stderr)
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    rows: list[Row] = []
    for name in options.claims or CLAIMS:
        measure = importlib.import_module(f".{name}", __package__).measure
        for row in measure(Options(options.rounds, options.quick)):
            rows.append(row)
            print(f"| {' | '.join(row.cells())} |", flush=True)
    if options.json:
        told = [{"claim": r.claim, "unit": r.unit, "peer": r.peer, "goal": r.goal, "rounds": r.rounds} for r in rows]
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
