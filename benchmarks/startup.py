"""What it costs to start a worker, and to import the package, beside a bare Celery app with a Redis broker.

All in one interpreter. A worker's CPU time is that of its process when it says that it is ready; both use threads, so that no
child's time is missed.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.support.processes import Process, until

from .claims import Options, Row, cpu_of, in_turn
from .stage import PEERS, Stage, stage

Start = Callable[[], tuple[float, float]]
"""Starts something; CPU seconds and wall seconds."""

_CELERY = Path(sys.executable).parent / "celery"
_OPENED = """
import os, sys, threading
import importlib.machinery
modules = tuple(importlib.machinery.all_suffixes())
opened = []
def look(event, arguments):
    if event == "open" and not str(arguments[0]).endswith(modules) and ".pyc" not in str(arguments[0]):
        opened.append((event, arguments[0]))
    elif event.startswith("socket.") or event in ("_thread.start_new_thread", "subprocess.Popen", "os.fork"):
        opened.append((event, None))
sys.addaudithook(look)
import noukai_worker
print(len(opened) + threading.active_count() - 1)
"""


def measure(options: Options) -> list[Row]:
    with stage() as it:
        bare = lambda: _started(it, [str(_CELERY), "--workdir", str(PEERS), "-A", "bare", "worker", *_threads("bare")])  # noqa: E731
        celery = lambda: _started(it, [str(_CELERY), "-A", "noukai_worker", "worker", *_threads("ours")])  # noqa: E731
        rows = [
            *_rows("start of `celery -A noukai_worker worker`", options, celery, bare),
            *_rows("start of `noukai-worker worker`", options, lambda: _started(it, _own("worker")), bare),
            *_rows("start of `noukai-worker stream`", options, lambda: _started(it, _own("stream")), bare),
        ]
        env = {"REDIS_URL": it.redis.url}
        imported = lambda: _ran("import noukai_worker", env)  # noqa: E731
        task = lambda: _ran("from noukai_worker import execute_flow", env)  # noqa: E731
        peer = lambda: _ran("import bare; bare.nothing.name", env)  # noqa: E731
        rows += _rows("`import noukai_worker`", options, imported, peer)
        rows += _rows("`from noukai_worker import execute_flow`", options, task, peer)
    opened = float(subprocess.check_output([sys.executable, "-c", _OPENED], text=True))
    claim = "sockets, threads, processes and files opened by `import noukai_worker`"
    return [*rows, Row(claim, "number", [(opened, None)], goal=0, more_is_better=False)]


def _rows(claim: str, options: Options, ours: Start, theirs: Start) -> list[Row]:
    pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    in_turn(options, lambda: pairs.append((ours(), theirs())) or 0.0)
    counted = pairs[1:]
    return [
        Row(claim, unit, [(us[n], them[n]) for us, them in counted], 1.3, False, "bare Celery app", overhead=True)
        for n, unit in enumerate(("CPU seconds", "wall seconds"))
    ]


def _threads(name: str) -> list[str]:
    return ["--pool", "threads", "--concurrency", "32", "--loglevel", "INFO", "--hostname", f"{name}@%h"]


@cache
def _own(command: str) -> list[str]:
    return [str(_CELERY.with_name("noukai-worker")), command]


def _started(it: Stage, command: list[str]) -> tuple[float, float]:
    process = Process(command, it.folder / f"{time.monotonic_ns()}.log", {**it.env, "REDIS_URL": it.redis.url})
    begin = time.monotonic()
    try:
        process.start()
        until(lambda: " ready." in process.output() or not process.alive, "the worker is ready")
        spent = cpu_of(process.pid), time.monotonic() - begin
        if not process.alive:
            raise RuntimeError(process.output())
        return spent
    finally:
        process.stop(within=60)


def _ran(code: str, env: dict[str, str]) -> tuple[float, float]:
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    begin, before = time.monotonic(), used()
    subprocess.run([sys.executable, "-c", code], check=True, env={**env, "PYTHONPATH": str(PEERS)})
    return used() - before, time.monotonic() - begin
