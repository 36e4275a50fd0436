"""Events per CPU-second of the streaming worker, beside the published SDK with one PUBLISH per event.

    python -m benchmarks.relay [--flows 500] [--events 200] [--interval 0] [--rounds 5]

Ours does more for each event: it is numbered, logged, fenced and published, and steps are checkpointed. The two take turns in one
run; the ratio is that of the medians. Only the relaying process' CPU time counts; Redis and the upstream have cores of their own
to fight for. The published SDK finds its server at port 8080 and nowhere else, so that port must be free.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from noukai_worker import stream_flow
from noukai_worker.runs import RunView, operations, shared
from noukai_worker.settings import Settings
from noukai_worker.tasks import app as apps
from tests.support.environments import python_with
from tests.support.processes import Process, RedisServer, Worker, until

HERE = Path(__file__).parent
PORT = 8080
PEER = "noukai-sdk==0.5.2"


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ours(flows: int, worker: Worker, redis_url: str) -> tuple[float, float, int]:
    store = shared(redis_url)
    used, begin = cpu_of(worker.pid), time.monotonic()
    ids = [stream_flow.delay("acme/demo/load", "x").id for _ in range(flows)]
    events = 0
    for run_id in ids:
        view = until(lambda run_id=run_id: _ended(store.perform(operations.show(run_id))), "the run ends", within=300)
        assert view.state == "completed", view
        events += view.position - 3  # run.queued, run.started and run.completed are ours
    return events / (cpu_of(worker.pid) - used), time.monotonic() - begin, events


def _ended(view: RunView) -> RunView | None:
    return view if view.state.terminal else None


def theirs(flows: int, python: Path, redis_url: str) -> tuple[float, float, int]:
    command = [python, HERE / "published_relay.py", "--flows", str(flows), "--redis-url", redis_url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    measured = json.loads(done.stdout.splitlines()[-1])
    return measured["events"] / measured["cpu"], measured["wall"], measured["events"]


def shown(who: str, measured: tuple[float, float, int]) -> str:
    rate, wall, _ = measured
    return f"{who} {rate:>7,.0f} per CPU-second, {wall:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=500)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between the events of a stream")
    options = parser.parse_args()
    python = python_with(HERE / ".published", PEER, "redis>=6.4,<9")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RedisServer(folder / "redis")
        upstream = [sys.executable, "-m", "benchmarks.canned", "--port", str(PORT), "--events", str(options.events)]
        upstream += ["--interval", str(options.interval)]
        canned = Process(upstream, folder / "canned.log")
        env = {
            "NOUKAI_REDIS_URL": server.url,
            "NOUKAI_BASE_URL": f"http://127.0.0.1:{PORT}/api/v1",
            "NOUKAI_API_KEY": "nk_test_benchmark",
        }
        worker = Worker("stream", folder, env)
        try:
            server.start()
            canned.start()
            until(lambda: "ready" in canned.output() or not canned.alive, "the upstream listens")
            assert canned.alive, canned.output()
            worker.start()
            apps.configure(apps.build(Settings(redis_url=server.url)), Settings(redis_url=server.url)).set_default()
            rows = []
            for turn in range(options.rounds + 1):
                us, them = ours(options.flows, worker, server.url), theirs(options.flows, python, server.url)
                if turn:  # the first round warms up
                    rows.append((us[0], them[0]))
                    print(f"round {turn}: {shown('ours', us)}   {shown('published', them)}")
            us_median, them_median = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"{options.flows} flows x {options.events} events, median of {options.rounds}")
            print(
                f"ours {us_median:,.0f}, published {them_median:,.0f} events per CPU-second: {us_median / them_median:.1f}x"
            )
        finally:
            for process in (worker, canned, server):
                process.stop(within=60)


if __name__ == "__main__":
    main()
