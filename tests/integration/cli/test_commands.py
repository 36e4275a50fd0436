from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import time

import pytest
import redis

from noukai_sdk.testing import FlowServer
from noukai_worker.runs import RunStore, keys, operations
from noukai_worker.settings import Limit
from tests.support.processes import RedisServer, until

from .conftest import PROGRAM, CommandLine

pytestmark = pytest.mark.integration


def log_of(server: RedisServer, run_id: str) -> list[bytes]:
    with contextlib.closing(redis.Redis.from_url(server.url)) as client:
        return [fields[b"entry"] for _, fields in client.xrange(keys.log(run_id))]


def test_followed_as_json_entries_are_byte_for_byte_the_log(command: CommandLine, redis_server: RedisServer) -> None:
    answer = command("enqueue", "acme/spelling/grade-3", "--message", "wörds", "--follow", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    entries = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert answer.stdout.encode() == b"".join(raw + b"\n" for raw in log_of(redis_server, entries[0]["run_id"]))


def test_a_person_on_a_pipe_reads_lines(command: CommandLine) -> None:
    answer = command("enqueue", "acme/demo/two-step", "--message", "hi", "--follow")
    lines = answer.stdout.splitlines()
    assert answer.returncode == 0
    assert lines[0] == "queued acme/demo/two-step (stream)"
    assert lines[2] == "step 1/2: A"
    assert "a: hi" in lines
    assert lines[-1] == "completed"
    assert "\x1b" not in answer.stdout


def test_parameters_arrive_and_execute_runs_have_a_log_too(command: CommandLine) -> None:
    (accepted,) = command.json(
        "enqueue", "acme/process/default", "--mode", "execute", "--message", "x", "--param", "a=1"
    )
    assert accepted["new"] is True
    assert accepted["position"] == 0
    entries = command.json("watch", accepted["id"])
    assert [entry["type"] for entry in entries] == ["run.queued", "run.started", "run.completed"]
    assert entries[-1]["data"]["result"] == "Processed: x"


def test_one_key_is_one_run(command: CommandLine) -> None:
    key = f"key-{time.monotonic_ns()}"
    line = ("enqueue", "acme/demo/hello-world", "--message", "you", "--idempotency-key", key)
    first, second = command.json(*line)[0], command.json(*line)[0]
    assert (first["id"], first["new"], second["new"]) == (second["id"], True, False)
    conflict = command("enqueue", "acme/demo/hello-world", "--message", "me", "--idempotency-key", key)
    assert conflict.returncode == 1
    assert first["id"] in conflict.stderr


def test_show_runs_and_cancel(command: CommandLine) -> None:
    run_id = command("enqueue", "acme/demo/hello-world", "--message", "later", "--delay", "600").stdout.strip()
    (shown,) = command.json("show", run_id)
    assert (shown["id"], shown["status"], shown["flow"]) == (run_id, "queued", "acme/demo/hello-world")
    assert "token" not in shown
    assert run_id in command("show", run_id).stdout
    assert run_id in {view["id"] for view in command.json("runs", "--status", "queued", "--limit", "500")}
    assert command("runs", "--limit", "1").stdout.count("\n") == 1
    assert command.json("cancel", run_id) == [{"id": run_id, "status": "cancelled", "was": "queued"}]
    watched = command("watch", run_id)
    assert (watched.returncode, watched.stdout.splitlines()[-1]) == (1, "cancelled")
    assert run_id not in {view["id"] for view in command.json("runs", "--status", "queued", "--limit", "500")}


def test_a_failed_run_is_a_failed_watch(command: CommandLine) -> None:
    answer = command("enqueue", "acme/demo/nowhere", "--message", "x", "--follow")
    assert answer.returncode == 1
    assert answer.stdout.splitlines()[-1].startswith("failed: ")


def test_retries_are_told(command: CommandLine, flow_server: FlowServer) -> None:
    flow_server.order(status=503, flow="acme/demo/two-step")
    answer = command("enqueue", "acme/demo/two-step", "--message", "x", "--follow")
    assert answer.returncode == 0, answer.stdout
    assert "attempt 1 ended: " in answer.stdout
    assert "attempt 2 on " in answer.stdout
    assert answer.stdout.splitlines()[-1] == "completed after 2 attempts"


def test_watching_begins_after_a_position(command: CommandLine) -> None:
    run_id = command("enqueue", "acme/demo/two-step", "--message", "x").stdout.strip()
    whole = command.json("watch", run_id)
    assert command.json("watch", run_id, "--after", "3") == whole[3:]
    assert command.json("watch", run_id, "--after", str(len(whole))) == []
    ahead = command("watch", run_id, "--after", "1000")
    assert (ahead.returncode, ahead.stdout) == (1, "")
    assert ahead.stderr.startswith("error: ")


def test_an_unknown_run_is_one_line(command: CommandLine) -> None:
    for name in ("watch", "show", "cancel"):
        answer = command(name, "no-such-run")
        assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (1, "", 1)
        assert answer.stderr.startswith("error: no run no-such-run")


def test_ctrl_c_stops_the_watching_and_not_the_run(command: CommandLine) -> None:
    run_id = command("enqueue", "acme/demo/slow-essay", "--message", "x").stdout.strip()
    with command.start("watch", run_id, "--json") as watching:
        assert watching.stdout
        seen = [json.loads(watching.stdout.readline()) for _ in range(5)]
        watching.send_signal(signal.SIGINT)
        assert watching.stderr
        rest, err = watching.stdout.read(), watching.stderr.read()
    assert watching.returncode == 130
    last = [*seen, *map(json.loads, rest.splitlines())][-1]["seq"]
    told = int(err.removeprefix(f"stopped watching; the run goes on: noukai-worker watch {run_id} --after "))
    # The signal may come between an entry's being written and its being counted: then it is shown again, none is lost.
    assert told in {last - 1, last}
    assert command.json("watch", run_id, "--after", str(told))[-1]["type"] == "run.completed"


def test_a_broken_pipe_is_silent(command: CommandLine) -> None:
    run_id = command("enqueue", "acme/demo/load", "--param", "events=3000").stdout.strip()
    until(lambda: command.json("show", run_id)[0]["status"] == "completed", "the run completes")
    for form in ((), ("--json",)):
        with command.start("watch", run_id, *form) as watching:
            assert watching.stdout
            assert watching.stderr
            watching.stdout.readline()
            watching.stdout.close()
            assert watching.stderr.read() == ""
            assert watching.wait(20) == 1


def test_a_terminal_gets_a_bar(command: CommandLine) -> None:
    parent, child = pty.openpty()
    environment = {name: value for name, value in command.environment.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    line = [*PROGRAM, "enqueue", "acme/spelling/grade-3", "--message", "x", "--follow"]
    with subprocess.Popen(line, env=environment, stdin=child, stdout=child, stderr=child) as process:
        os.close(child)
        shown = b""
        # Reading a terminal that nobody holds any more is an error on Linux, and the end.
        with contextlib.suppress(OSError):
            while piece := os.read(parent, 65_536):
                shown += piece
        os.close(parent)
    assert process.returncode == 0
    assert "━".encode() in shown
    assert b"step 2/2: Write the exercise" in shown
    assert b"completed" in shown


def test_limits_show_what_waits_and_a_pause_can_be_lifted(command: CommandLine, redis_server: RedisServer) -> None:
    (quiet,) = command.json("limits", "acme")
    assert quiet == {
        "credential": "acme", "concurrency": None, "rate": None, "paused_until": None, "held": 0,
        "waiting": {"stream": {}, "execute": {}}, "sent": {"stream": 0, "execute": 0},
    }  # fmt: skip
    with contextlib.closing(RunStore(redis_server.url)) as store:
        gate = operations.Gate("acme", "stream", 60, Limit(concurrency=1, rate=2.5))
        for run_id in ("1", "2"):
            store.perform(operations.admit(gate, run_id, tenant="shop", again=False, lease=60))
        store.perform(operations.pause(gate, 60))
    answer = command("limits", "acme", "default")
    first, *rest = answer.stdout.splitlines()
    assert first.startswith("acme: at most 1 at once, 2.5 a second; 1 running; paused until 20")
    assert rest == ["  stream: 1 waiting, tenant shop", "default: no limits"]
    (lifted,) = command.json("limits", "acme", "--lift")
    assert lifted["paused_until"] is None
