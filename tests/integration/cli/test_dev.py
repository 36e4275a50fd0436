from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from noukai_worker.dev.stack import Ports
from tests.support.processes import until

from .conftest import CommandLine
from .test_supervisor import gone

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def options(ports: Ports) -> tuple[str, ...]:
    pairs = (("redis", ports.redis), ("flow", ports.flow_server), ("web", ports.web))
    return tuple(part for name, port in pairs for part in (f"--{name}-port", str(port)))


def children(pid: int) -> dict[int, str]:
    """Process id and command line of each child."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    return found


class Dev:
    """`noukai-worker dev` in a folder, on free ports."""

    def __init__(self, command: CommandLine, folder: Path) -> None:
        self.ports = Ports.free()
        self.log: list[str] = []
        self.process: subprocess.Popen[str] = command.start("dev", *options(self.ports), cwd=folder)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.log.append(line.rstrip())

    def says(self, pattern: str, *, times: int = 1) -> None:
        def said() -> bool:
            assert self.process.poll() is None, (self.log, self.process.stderr and self.process.stderr.read())
            return len([line for line in self.log if re.search(pattern, line)]) >= times

        until(said, f"{pattern}\n" + "\n".join(self.log[-20:]))

    def stop(self, signum: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signum)
        status = self.process.wait(60)
        self._reader.join(20)
        if self.process.stdout:
            self.process.stdout.close()
        if self.process.stderr:
            self.process.stderr.close()
        return status


@pytest.fixture
def dev(alone: Callable[..., CommandLine], tmp_path: Path) -> Iterator[Callable[[], Dev]]:
    with contextlib.ExitStack() as stack:

        def start() -> Dev:
            # The person's own key and address must not get through to the processes.
            started = Dev(alone(NOUKAI_API_KEY="nk_live_real", NOUKAI_ENV="production"), tmp_path)
            stack.callback(started.stop)
            started.says(r"dev \| ready")
            return started

        yield start


def test_everything_runs_heals_and_stops(
    dev: Callable[[], Dev], alone: Callable[..., CommandLine], tmp_path: Path
) -> None:
    first = dev()
    command = alone(NOUKAI_REDIS_URL=first.ports.redis_url)
    first.says(re.escape(first.ports.redis_url))  # behind the line that it is ready
    assert httpx.get(f"{first.ports.web_url}/readyz", trust_env=False).status_code == 200

    # A worker dies in the middle of a run; the supervisor brings it back and the run goes on where it was.
    run_id = command("enqueue", "acme/demo/slow-essay", "--message", "x").stdout.strip()
    with command.start("watch", run_id, "--json") as watching:
        assert watching.stdout
        for line in watching.stdout:
            if json.loads(line)["type"] == "step_completed":
                break
        (worker,) = (pid for pid, line in children(first.process.pid).items() if " stream " in line)
        os.kill(worker, signal.SIGKILL)
        entries = [json.loads(line) for line in watching.stdout]
        assert watching.wait(30) == 0
    (takeover,) = (entry for entry in entries if entry["type"] == "run.started")
    assert takeover["data"]["resumed_at_step"] >= 1
    first.says(r"dev \| stream ended \(SIGKILL\)")

    # Open reading is for loopback; the page's own origin is asked for nothing.
    answer = httpx.get(f"{first.ports.web_url}/runs/{run_id}", trust_env=False)
    assert answer.json()["status"] == "completed"

    # One folder, one supervisor; one port, one server.
    refused = alone()("dev", *options(Ports.free()), cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "--dir" in refused.stderr

    processes = children(first.process.pid)
    assert first.stop() == 0
    assert first.log[-1].strip() == "dev | stopped"
    assert all(map(gone, processes))

    # What was recorded is still there.
    second = dev()
    assert alone(NOUKAI_REDIS_URL=second.ports.redis_url).json("show", run_id)[0]["status"] == "completed"
    assert second.stop(signal.SIGINT) == 0
    assert (tmp_path / ".noukai" / ".gitignore").read_text() == "*\n"


def test_a_killed_supervisor_leaves_no_server_behind(dev: Callable[[], Dev]) -> None:
    killed = dev()
    processes = children(killed.process.pid)
    assert len(processes) == 6
    killed.process.kill()
    killed.process.wait()
    until(lambda: all(map(gone, processes)), "all children end", within=45)


def test_a_log_that_nobody_reads_ends_everything(alone: Callable[..., CommandLine], tmp_path: Path) -> None:
    with alone().start("dev", *options(Ports.free()), cwd=tmp_path) as process:
        assert process.stdout
        assert process.stderr
        until(lambda: len(children(process.pid)) == 6, "all children run")
        processes = children(process.pid)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 1
    until(lambda: all(map(gone, processes)), "all children end")


@pytest.mark.parametrize(("taken", "option"), [(0, "--redis-port"), (1, "--flow-port"), (2, "--web-port")])
def test_a_taken_port_names_its_option(
    taken: int, option: str, alone: Callable[..., CommandLine], tmp_path: Path
) -> None:
    ports = Ports.free()
    numbers = [ports.redis, ports.flow_server, ports.web]
    with socket.create_server(("127.0.0.1", numbers[taken])):
        answer = alone()("dev", *options(ports), cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"error: port {numbers[taken]} is taken: choose another one with {option}\n"
    assert not (tmp_path / ".noukai").exists()
