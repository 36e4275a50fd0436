"""Events per CPU-second of the streaming worker, beside the published SDK with one PUBLISH per event.

Ours does more for each event: it is numbered, logged, fenced and published, and steps are checkpointed. 500 flows at once, 200
events each. Only the relaying process' CPU time counts; Redis and the upstream have cores of their own to fight for.
"""

from __future__ import annotations

import json
import subprocess

from noukai_worker import stream_flow
from noukai_worker.runs import RunView, operations, shared
from tests.support.processes import Worker, until

from .claims import Options, Row, cpu_of, in_turn
from .stage import PEERS, Stage, published, stage

EVENTS = 200


def measure(options: Options) -> list[Row]:
    flows = 100 if options.quick else 500
    python = published("redis>=6.4,<9")
    with stage() as it:
        it.listening("canned", "--events", EVENTS)
        worker = it.worker("stream")
        rounds = in_turn(options, lambda: ours(it, worker, flows), lambda: theirs(it, python, flows))
    claim = f"relay, {flows} flows at once, {EVENTS} events each"
    return [Row(claim, "events per CPU-second of the worker", rounds, goal=10, peer="published SDK, PUBLISH")]


def ours(it: Stage, worker: Worker, flows: int) -> float:
    store = shared(it.redis.url)
    used = cpu_of(worker.pid)
    ids = [stream_flow.delay("acme/demo/load", "x").id for _ in range(flows)]
    events = 0
    for run_id in ids:
        view = until(lambda run_id=run_id: _ended(store.perform(operations.show(run_id))), "the run ends", within=300)
        assert view.state == "completed", view
        events += view.position - 3  # run.queued, run.started and run.completed are ours
    return events / (cpu_of(worker.pid) - used)


def _ended(view: RunView) -> RunView | None:
    return view if view.state.terminal else None


def theirs(it: Stage, python: object, flows: int) -> float:
    command = [str(python), PEERS / "relay.py", "--flows", str(flows), "--redis-url", it.redis.url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    measured = json.loads(done.stdout.splitlines()[-1])
    return float(measured["events"] / measured["cpu"])
