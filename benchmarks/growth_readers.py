"""How the web process grows with its readers: CPU time of a delivery, one at a time, and memory; writes JSON.

`python -m benchmarks.growth_readers --json FILE`: a list of {"readers", "cpu_us_per_delivery", "memory_mb"}; ten
readers to a run. Takes about two minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .claims import memory_of
from .fanout import watched
from .readers import many_files
from .stage import stage

SIZES = (10, 50, 200, 500, 1_000, 2_000, 5_000)
_DELIVERIES = 30_000
_MOST_WAVES = 300


def grown(readers: int) -> dict[str, float]:
    """The figures of one size."""
    with stage() as it, watched(it, readers, max(1, readers // 10)) as them:
        them.deliver(readers)
        rate = them.deliver(min(_DELIVERIES, _MOST_WAVES * readers))
        memory = memory_of(them.web.pid)
    return {"readers": readers, "cpu_us_per_delivery": round(1e6 / rate, 1), "memory_mb": round(memory / 2**20, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", required=True)
    options = parser.parse_args()
    many_files()
    figures = []
    for readers in SIZES:
        figures.append(grown(readers))
        print(figures[-1], flush=True)
    options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
