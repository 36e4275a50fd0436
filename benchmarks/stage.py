"""What most benchmarks play on: Redis, a cheap upstream, our worker, and an interpreter with the published SDK."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from noukai_worker.settings import Settings
from noukai_worker.tasks import app as apps
from tests.support.environments import python_with
from tests.support.processes import Process, RedisServer, Worker, free_port, until

HERE = Path(__file__).parent
PEERS = HERE / "peers"
PORT = 8080
"""The published SDK finds its server here and nowhere else."""
KEY = "nk_test_benchmark"


@dataclass(frozen=True, slots=True)
class Upstream:
    """A running server, and what makes our workers call it."""

    process: Process
    port: int

    @property
    def env(self) -> dict[str, str]:
        return {"NOUKAI_BASE_URL": f"http://127.0.0.1:{self.port}/api/v1"}


class Stage:
    """Started processes end with it."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        # Rewriting its file takes Redis a core for a moment, at some moment of its own.
        self.redis = RedisServer(folder / "redis", options=("--auto-aof-rewrite-percentage", "0"))
        self.start(self.redis)
        settings = Settings(redis_url=self.redis.url)
        # Whatever this process enqueues goes to that Redis.
        apps.configure(apps.build(settings), settings).set_default()

    @property
    def env(self) -> dict[str, str]:
        """Settings of our processes."""
        return {
            "NOUKAI_REDIS_URL": self.redis.url,
            "NOUKAI_BASE_URL": f"http://127.0.0.1:{PORT}/api/v1",
            "NOUKAI_API_KEY": KEY,
        }

    def start(self, process: Process) -> None:
        self._stack.callback(process.stop, within=60)
        process.start()

    def listening(self, module: str, *arguments: object, port: int = PORT) -> Process:
        """A module of this package that says "ready" once it listens; raises RuntimeError with its words if it does not."""
        command = [sys.executable, "-m", f"benchmarks.{module}", "--port", str(port), *map(str, arguments)]
        process = Process(command, self.folder / f"{module}-{port}.log")
        self.start(process)
        # A line of its own: "address already in use" has the word, too.
        until(lambda: "ready" in process.output().splitlines() or not process.alive, f"{module} listens")
        if not process.alive:
            raise RuntimeError(process.output())
        return process

    def upstream(self, module: str, *arguments: object) -> Upstream:
        """Such a module on a free port: for benchmarks, or parts of them, in which only our workers call it."""
        port = free_port()
        return Upstream(self.listening(module, *arguments, port=port), port)

    def worker(self, kind: str, **env: str) -> Worker:
        """A ready worker, "stream" or "execute"."""
        worker = Worker(kind, self.folder, {**self.env, **env})
        self.start(worker)
        return worker


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        yield Stage(Path(name), stack)


def published(*packages: str) -> Path:
    """An interpreter with the published SDK and what else a peer needs; both SDKs have one import name."""
    name = "-".join(["published", *(package.partition("[")[0].partition(">")[0] for package in packages)])
    return python_with(HERE / ".environments" / name, "noukai-sdk==0.5.2", *packages)
