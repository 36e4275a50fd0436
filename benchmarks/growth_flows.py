"""How the streaming worker's cost grows with the flows in flight, an event a second each; writes a JSON list of points."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import in_flight
from .files import allow_many_files
from .stage import stage

FLOWS = (50, 100, 500, 1_000, 2_000, 5_000)
SECONDS = 8.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the points there")
    parser.add_argument("--flows", type=int, nargs="+", default=FLOWS)
    options = parser.parse_args()
    allow_many_files()
    points = []
    with stage() as it:
        upstream = it.upstream("paced")
        for flows in options.flows:
            seen = in_flight.ours(it, upstream, flows, SECONDS)
            point = {
                "flows": flows,
                "cpu_us_per_event": round(seen.cpu_us_per_event, 1),
                "memory_mb": round(seen.memory / 2**20, 1),
            }
            points.append(point)
            print(
                *(f"{name} {value}" for name, value in point.items()),
                f"kb_per_flow {seen.kb_per_flow:.1f} p50_ms {seen.age(50):.1f} p99_ms {seen.age(99):.1f}",
                f"restarted {seen.restarted}",
                file=sys.stderr,
            )
    if options.json:
        options.json.write_text(json.dumps(points, indent=1) + "\n")


if __name__ == "__main__":
    main()
