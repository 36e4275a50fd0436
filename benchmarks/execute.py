"""Calls per CPU-second of the worker that executes, beside a plain Celery task with the published SDK and one shared client.

64 at once, 200 ms each at the upstream. Both ack late and keep results in Redis. Ours does more for each call: it is claimed
under a lease, logged and published, and its end is recorded before Celery's. Only the worker's own process counts.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import redis
from celery import Celery

from noukai_worker import execute_flow
from noukai_worker.runs import State, operations, shared
from tests.support.processes import Process, until

from .claims import Options, Row, cpu_of, in_turn
from .stage import PEERS, Stage, published, stage

AT_ONCE = 64
_DELAY = 0.2


def measure(options: Options) -> list[Row]:
    calls = 320 if options.quick else 1_280
    python = published("celery[redis]>=5.6.3,<5.7", "hiredis>=3.2,<4")
    with stage() as it:
        it.listening("canned", "--delay", _DELAY)
        worker = it.worker("execute", NOUKAI_WORKER_EXECUTE_CONCURRENCY=str(AT_ONCE))
        peer = _peer(it, python)
        sender = Celery(broker=it.redis.url, set_as_current=False)
        rounds = in_turn(options, lambda: ours(it, worker, calls), lambda: theirs(it, sender, peer, calls))
    claim = f"execute, {AT_ONCE} at once, {_DELAY * 1000:.0f} ms each"
    return [Row(claim, "calls per CPU-second of the worker", rounds, goal=1.5, peer="Celery task, published SDK")]


def ours(it: Stage, worker: Process, calls: int) -> float:
    used = cpu_of(worker.pid)
    ids = [execute_flow.delay("acme/demo/load", "x").id for _ in range(calls)]
    _await(it, ids)
    used = cpu_of(worker.pid) - used
    store = shared(it.redis.url)
    states = {store.perform(operations.show(run_id)).state for run_id in ids}
    assert states == {State.COMPLETED}, states
    return calls / used


def theirs(it: Stage, sender: Celery, peer: Process, calls: int) -> float:
    used = cpu_of(peer.pid)
    ids = [sender.send_task("peer.execute", ("acme/demo/load", "x"), queue="peer").id for _ in range(calls)]
    _await(it, ids)
    return calls / (cpu_of(peer.pid) - used)


def _await(it: Stage, ids: list[str]) -> None:
    """Until Celery has the result of each, looked at where it keeps them; all must be successes."""
    with contextlib.closing(redis.Redis.from_url(it.redis.url)) as results:
        for task_id in ids:
            result = until(lambda key=f"celery-task-meta-{task_id}": results.get(key), "Celery has the result")
            assert json.loads(result)["status"] == "SUCCESS", result


def _peer(it: Stage, python: Path) -> Process:
    # Not `-m celery`, which would look for modules in the folder that this runs in: there is our SDK.
    command = [str(python.parent / "celery"), "--workdir", str(PEERS), "-A", "execute", "worker", "--loglevel", "INFO"]
    pool = ["--pool", "threads", "--concurrency", str(AT_ONCE), "--queues", "peer", "--hostname", "peer@%h"]
    process = Process([*command, *pool], it.folder / "peer.log", {"REDIS_URL": it.redis.url})
    it.start(process)
    until(lambda: " ready." in process.output() or not process.alive, "the peer is ready")
    if not process.alive:
        raise RuntimeError(process.output())
    return process
