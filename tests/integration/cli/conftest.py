from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from noukai_sdk.testing import FlowServer
from tests.support.processes import Process, RedisServer, running

PROGRAM = [sys.executable, "-m", "noukai_worker"]


@dataclass(frozen=True)
class CommandLine:
    """The command line as a process of its own, in an environment."""

    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NOUKAI_")}
        return kept | {"NO_COLOR": "1", "COLUMNS": "120"} | dict(self.variables)

    def __call__(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def json(self, *arguments: str) -> list[Any]:
        """The JSON lines of a command that succeeded."""
        answer = self(*arguments, "--json")
        assert answer.returncode == 0, answer.stderr
        assert answer.stderr == ""
        return [json.loads(line) for line in answer.stdout.splitlines()]

    def start(self, *arguments: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            env=self.environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def installation(
    redis_server: RedisServer, flow_server_process: FlowServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of a running installation with a worker of each kind, for the tests of one file."""
    folder = tmp_path_factory.mktemp("installation")
    environment = {
        "NOUKAI_REDIS_URL": redis_server.url,
        **flow_server_process.env,
        "NOUKAI_WORKER_BACKOFF_BASE": "0.2",
    }
    workers = [
        Process([*PROGRAM, kind, "--name", kind], folder / f"{kind}.log", environment) for kind in ("worker", "stream")
    ]
    with running(*workers):
        yield environment


@pytest.fixture
def command(installation: dict[str, str]) -> CommandLine:
    """As an enqueuer: without an API key."""
    return CommandLine({name: value for name, value in installation.items() if name != "NOUKAI_API_KEY"})


@pytest.fixture
def alone() -> Callable[..., CommandLine]:
    """A command line in an environment of the test's choice."""
    return lambda **variables: CommandLine(variables)
