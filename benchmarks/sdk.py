"""The SDK beside the published one, in the same run and in turn: events, frames, calls, imports, construction.

    python -m benchmarks.sdk [--rounds 5] [--only events]

Figures are CPU time of the client's process, medians; both SDKs run in environments of their own with the same
packages. The published one finds its server at port 8080 and nowhere else, so that port must be free.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.environments import python_with
from tests.support.processes import Process, until

HERE = Path(__file__).parent
PUBLISHED = "noukai-sdk==0.5.2"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH" and "proxy" not in name.lower()}


@dataclass(frozen=True)
class Claim:
    """One row. `measure` takes an interpreter and gives a figure; the ratio says how many times better ours is."""

    name: str
    unit: str
    measure: Callable[[str], float]
    more_is_better: bool
    goal: str


def rate(probe: str, flow: str, count: int) -> Callable[[str], float]:
    """Things done per CPU-second."""
    return lambda python: 1 / per_thing(probe, flow, count)(python)


def per_thing(probe: str, flow: str, count: int, scale: float = 1.0) -> Callable[[str], float]:
    """CPU seconds, times `scale`, for one thing."""

    def measure(python: str) -> float:
        command = [python, HERE / "sdk_probe.py", probe, flow, str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600, env=environment())
        measured = json.loads(done.stdout.splitlines()[-1])
        return float(measured["cpu"] / measured["done"] * scale)

    return measure


def starting(code: str) -> Callable[[str], float]:
    """CPU milliseconds of an interpreter that runs `code`, less those of one that runs nothing."""

    def measure(python: str) -> float:
        return (_cpu_of([python, "-I", "-c", code]) - _cpu_of([python, "-I", "-c", "pass"])) * 1000

    return measure


def _cpu_of(command: list[str]) -> float:
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    for _ in range(5):
        subprocess.run(command, check=True, env=environment())
    return (used() - before) / 5


_FIRST = "from noukai_sdk import Noukai; Noukai('nk_x', env='dev').flow('a/b/c')"
CLAIMS = [
    Claim("events, sync, bursts", "per CPU-s", rate("sync", "burst", 100), True, "3x"),
    Claim("events, sync, one by one", "per CPU-s", rate("sync", "lone", 50), True, "3x"),
    Claim("events, async, bursts", "per CPU-s", rate("async", "burst", 100), True, "3x"),
    Claim("events, async, one by one", "per CPU-s", rate("async", "lone", 50), True, "3x"),
    Claim("events, async, 100 at once, bursts", "per CPU-s", rate("async-100", "burst", 100), True, "3x"),
    Claim("events, async, 100 at once, one by one", "per CPU-s", rate("async-100", "lone", 100), True, "3x"),
    *(
        Claim(f"one frame of {size} MB, {kind}", "CPU ms", per_thing(kind, f"frame-{size}", 1, 5000), False, "linear")
        for kind in ("sync", "async")
        for size in (1, 4, 16)
    ),
    Claim("execute, one thread", "per CPU-s", rate("execute", "echo", 2000), True, "1x"),
    Claim("execute, 64 threads", "per CPU-s", rate("execute-64", "wait", 2000), True, "1x"),
    Claim("import", "CPU ms", starting("import noukai_sdk"), False, "2x"),
    Claim("import, and the first client's flow", "CPU ms", starting(_FIRST), False, "1x"),
    Claim("every further client", "CPU µs", per_thing("construct", "-", 50, 1e6), False, "< 1000"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name starts with this")
    options = parser.parse_args()
    theirs = str(python_with(HERE / ".published-sdk", PUBLISHED))
    ours = str(python_with(HERE / ".own-sdk", "--editable", str(HERE.parent)))
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "benchmarks.sdk_upstream", "--port", "8080"]
        upstream = Process(command, Path(name) / "upstream.log")
        try:
            upstream.start()
            until(lambda: "ready" in upstream.output() or not upstream.alive, "the upstream listens")
            assert upstream.alive, upstream.output()
            print(f"{'':40}{'ours':>12}{'published':>12}{'ratio':>8}  goal")
            for claim in CLAIMS:
                if claim.name.startswith(options.only):
                    _show(claim, ours, theirs, options.rounds)
        finally:
            upstream.stop(within=30)


def _show(claim: Claim, ours: str, theirs: str, rounds: int) -> None:
    pairs = [(claim.measure(ours), claim.measure(theirs)) for _ in range(rounds)]
    us, them = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = us / them if claim.more_is_better else them / us
    print(f"{claim.name:40}{us:>12,.0f}{them:>12,.0f}{ratio:>7.1f}x  {claim.goal:8} {claim.unit}", flush=True)


if __name__ == "__main__":
    main()
