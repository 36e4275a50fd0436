"""A whole installation under fire: real processes, started as users start them, and a supervisor that starts the dead again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import redis

from noukai_sdk.testing import FlowServer, flow_server
from tests.support.processes import Process, RedisServer, free_port, until

from . import evidence
from .evidence import Accepted, Fault, Record
from .figures import Figures
from .scale import Scale

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LOAD = "acme/demo/load"


class Kept(Process):
    """A process that the supervisor starts again when it dies; `ready` is a word of its output."""

    def __init__(self, name: str, command: list[str], folder: Path, env: dict[str, str], ready: str | None) -> None:
        super().__init__(command, folder / f"{name}.log", env)
        self.name, self.ready = name, ready
        self.starts: list[float] = []
        self.wanted = True
        self._begin = 0

    def start(self) -> None:
        self._begin = len(self.output())
        self.starts.append(time.time())
        super().start()

    @property
    def is_ready(self) -> bool:
        """Whether it has said so since its last start."""
        return self.ready is None or self.ready in self.output()[self._begin :]

    @property
    def done(self) -> bool:
        """Whether it has ended of itself, with success."""
        return self._popen is not None and self._popen.poll() == 0

    def children(self) -> list[int]:
        """Pids of its child processes (Linux)."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]


@dataclass
class House:
    """Everything a row plays with."""

    folder: Path
    scale: Scale
    redis_server: RedisServer
    flow_server: FlowServer
    env: dict[str, str]
    kept: dict[str, Kept] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    posted: list[Accepted] = field(default_factory=list)
    port: int = 0
    """Where the web application listens."""
    modes: tuple[str, str] = ("stream", "execute")
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_server.url)

    # Processes

    def keep(self, name: str, *command: str, ready: str | None, env: dict[str, str] | None = None) -> Kept:
        """Start a process, and start it again whenever it dies."""
        process = Kept(name, list(command), self.folder, self.env | (env or {}), ready)
        process.start()
        self.kept[name] = process
        return process

    def stream(self, name: str = "stream", **env: str) -> Kept:
        """A streaming worker."""
        return self.keep(name, str(BIN / "noukai-worker"), "stream", "--name", name, ready=" ready.", env=env)

    def worker(self, name: str = "execute", **env: str) -> Kept:
        """A worker for execute runs."""
        return self.keep(name, str(BIN / "noukai-worker"), "worker", "--name", name, ready=" ready.", env=env)

    def web(self, **env: str) -> tuple[Kept, int]:
        """The web application, and its port."""
        self.port = port = free_port()
        command = (str(BIN / "noukai-worker"), "web", "--port", str(port))
        return self.keep("web", *command, ready="Listening on", env=env), port

    def shop(self, name: str, *arguments: str, **env: str) -> Kept:
        """A worker of an application with a Celery app of its own (`shop.py`)."""
        command = (
            str(BIN / "celery"),
            "-A",
            "tests.chaos.shop",
            "worker",
            "-l",
            "INFO",
            "-n",
            f"{name}@%h",
            *arguments,
        )
        return self.keep(name, *command, ready=" ready.", env=env)

    def enqueuer(self, name: str, **plan: Any) -> Kept:
        """A process that enqueues `count` runs at `rate` a second; killed and started again, it goes on where it was."""
        path = self.folder / f"{name}.json"
        plan = {"prefix": name, "out": str(self.folder / f"{name}.accepted"), "flow": LOAD} | plan
        path.write_text(json.dumps(plan))
        return self.keep(name, sys.executable, "-P", "-m", "tests.chaos.enqueuer", str(path), ready=None)

    def post(self, flow: str, message: str, mode: str, **fields: Any) -> Accepted:
        """Enqueue one run over HTTP."""
        body = {"flow": flow, "message": message, "mode": mode, **fields}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/runs", json=body, timeout=30).raise_for_status().json()
        run = Accepted(answer["id"], mode, message, answer["token"])
        self.posted.append(run)
        return run

    def ready(self, within: float = 60.0) -> None:
        """Wait until all that were started are ready."""
        for process in self.kept.values():
            until(lambda p=process: p.is_ready or p.done, f"{process.name} is ready", within=within)

    def supervise(self) -> None:
        """Until the house closes: whoever dies is started again."""
        while not self._over.wait(0.05):
            for process in list(self.kept.values()):
                if process.wanted and not process.alive and not process.done:
                    process.start()

    def close(self) -> None:
        """Stop everything, enqueuers first; nobody is started again."""
        self._over.set()
        for process in reversed(self.kept.values()):
            process.wanted = False
            if process.alive:
                process.send(signal.SIGCONT)
        with contextlib.ExitStack() as stack:
            for process in self.kept.values():
                stack.callback(process.kill)
            for process in reversed(self.kept.values()):
                if process.alive:
                    process.stop(within=30)

    # Faults

    def fault(self, what: str, worker: str | None = None) -> Fault:
        """Note that something is done now."""
        fault = Fault(time.time(), what, worker)
        self.faults.append(fault)
        return fault

    def kill(self, name: str) -> None:
        """`kill -9`, if it lives."""
        process = self.kept[name]
        if process.alive:
            self.fault(f"kill -9 {name}", name)
            process.send(signal.SIGKILL)

    def kill_child(self, name: str, chance: random.Random) -> None:
        """`kill -9` of a child of a prefork worker."""
        with contextlib.suppress(OSError, IndexError):
            child = chance.choice(self.kept[name].children())
            self.faults.append(Fault(time.time(), f"kill -9 a child of {name}", "nobody"))
            os.kill(child, signal.SIGKILL)

    # Evidence

    def accepted(self) -> list[Accepted]:
        """What we, and the enqueuers, were told is accepted."""
        found = {run.id: run for run in self.posted}
        for path in self.folder.glob("*.accepted"):
            # The last line may be cut off: then nobody was told.
            for line in path.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    run = Accepted(**json.loads(line))
                    found[run.id] = run
        return list(found.values())

    def enqueued(self, within: float = 120.0) -> list[Accepted]:
        """Wait until every enqueuer is through; the accepted runs."""
        enqueuers = [process for name, process in self.kept.items() if (self.folder / f"{name}.json").exists()]
        until(lambda: all(process.done for process in enqueuers), "all runs are enqueued", within=within)
        return self.accepted()

    def until(self, condition: Callable[[], Any], what: str, within: float = 60.0) -> None:
        """Wait for a condition; AssertionError if it is not met in time."""
        until(condition, what, within=min(within, self.scale.patience or within))

    def ended(self, runs: Sequence[Accepted], within: float = 120.0) -> list[Accepted]:
        """Wait until all have ended, or time is over; those that have not."""
        waiting, within = list(runs), min(within, self.scale.patience or within)

        def over() -> bool:
            waiting[:] = evidence.unended(client, waiting)
            return not waiting

        with self.client as client, contextlib.suppress(AssertionError):
            self.until(over, "all runs have ended", within)
        return waiting

    def records(self, runs: Sequence[Accepted] | None = None) -> list[Record]:
        """The accepted runs with their logs."""
        with self.client as client:
            return evidence.records(client, self.accepted() if runs is None else runs)

    def judge(self, figures: Figures, **options: Any) -> list[Record]:
        """Fill in what every row counts; the logs, for what only one row looks at."""
        logs = self.records()
        evidence.judge(figures, logs, self.flow_server.counts(), self.faults, **options)
        with self.client as client:
            evidence.search(figures, client, self.flow_server.api_key)
        return logs

    def calm(self) -> None:
        """Let the service have good manners again."""
        httpx.delete(f"{self.flow_server.url}/_control/manners").raise_for_status()


@contextlib.contextmanager
def house(folder: Path, scale: Scale, *, package: Path | None = None, **env: str) -> Iterator[House]:
    """A Redis, a flow server and a supervisor. `package` holds another copy of the code, `env` further settings."""
    folder.mkdir(parents=True, exist_ok=True)
    server = RedisServer(folder / "redis")
    with flow_server(ROOT / "tests/chaos/flows.toml") as service, contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        path = os.pathsep.join(map(str, [*([package] if package else []), ROOT]))
        settings = {"NOUKAI_REDIS_URL": server.url, "PYTHONPATH": path, **service.env, **scale.env, **env}
        it = House(folder, scale, server, service, settings)
        supervisor = threading.Thread(target=it.supervise, name="supervisor")
        stack.callback(supervisor.join)
        stack.callback(it.close)
        supervisor.start()
        yield it
