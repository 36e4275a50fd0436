from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from celery import Celery

from noukai_sdk.testing import FlowServer
from tests.support.processes import free_port, until

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.integration


class Honcho:
    """The Procfile, as a person or a platform starts it."""

    def __init__(self, redis_url: str, flow_server: FlowServer) -> None:
        self.port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NOUKAI_")} | {
            "NOUKAI_REDIS_URL": redis_url,
            **flow_server.env,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }
        self.process = subprocess.Popen(
            [BIN / "honcho", "--env", os.devnull, "--procfile", ROOT / "Procfile", "start", "--no-colour"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(self.process.stdout)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self._reader.join(10)
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def honcho(redis_url: str, flow_server: FlowServer) -> Iterator[Honcho]:
    started = Honcho(redis_url, flow_server)
    yield started
    started.stop()


def test_the_procfile_starts_answers_and_stops(honcho: Honcho, redis_url: str) -> None:
    def ready() -> bool:
        assert honcho.process.poll() is None, "".join(honcho.lines)
        try:
            return httpx.get(f"http://127.0.0.1:{honcho.port}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    until(ready, "the web application is ready")
    with Celery("ping", broker=redis_url, set_as_current=False) as app:

        def answered() -> set[str]:
            found = {node.partition("-")[0] for node in app.control.inspect(timeout=1).ping() or {}}
            return found if found == {"execute", "stream"} else set()

        until(answered, "both workers answer")
    honcho.stop()
    log = "".join(honcho.lines)
    stopped = [line for line in honcho.lines if " stopped (rc=" in line]
    assert len(stopped) == 3, log
    assert not [line for line in stopped if "rc=-9" in line], log
    assert "SIGKILL" not in log
    assert "Traceback" not in log
