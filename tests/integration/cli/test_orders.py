"""Paused and failed runs from the command line: what `show` tells to type is what brings them further."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from noukai_sdk.testing import FlowServer
from noukai_worker.runs import RunStore, State, operations
from tests.support.processes import until

from .conftest import CommandLine

pytestmark = pytest.mark.integration

FLOW = "acme/demo/two-step"
ASKING = """
from noukai_worker import enqueue
tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
print(enqueue("acme/demo/tools-enabled", message="Graz", tools=[tool]).id)
"""


def asking(command: CommandLine) -> str:
    """A run that waits for its enqueuer's tool."""
    line = [sys.executable, "-c", ASKING]
    run_id = subprocess.run(line, env=command.environment, capture_output=True, text=True, check=True).stdout.strip()
    reaches(command, run_id, State.PAUSED)
    return run_id


def failed(command: CommandLine, flow_server: FlowServer, code: str, count: int = 1) -> list[str]:
    flow_server.order(flow=FLOW, times=count, status=400, code=code)
    ids = [command("enqueue", FLOW, "--message", "x").stdout.strip() for _ in range(count)]
    for run_id in ids:
        reaches(command, run_id, State.FAILED)
    return ids


def reaches(command: CommandLine, run_id: str, state: State) -> None:
    with contextlib.closing(RunStore(command.variables["NOUKAI_REDIS_URL"])) as store:
        until(lambda: store.perform(operations.show(run_id)).state is state, f"the run is {state}")


def shown(command: CommandLine, run_id: str) -> Any:
    return command.json("show", run_id)[0]


def typed(command: CommandLine, run_id: str) -> list[str]:
    """The command in the last line that `show` tells."""
    line = command("show", run_id).stdout.splitlines()[-1].partition(": ")[2]
    program, *arguments = shlex.split(line)
    assert program == "noukai-worker"
    return arguments


def test_a_paused_run_tells_what_it_waits_for_and_the_command_that_answers(command: CommandLine) -> None:
    run_id = asking(command)
    (call,) = shown(command, run_id)["waiting_for"]
    card = command("show", run_id).stdout
    assert f"waits for  {call['id']}: weather(" in card
    arguments = typed(command, run_id)
    assert arguments == ["resume", run_id, "--result", f"{call['id']}=CONTENT"]

    refused = command("resume", run_id, "--result", "other=x")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: tool_results: nobody asked for other")
    assert refused.stderr.count("\n") == 1

    answer = command(*arguments[:-1], f"{call['id']}=18 °C = warm")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"{run_id} goes on\n", "")
    assert "18 °C = warm" in json.dumps(command.json("watch", run_id)[-1], ensure_ascii=False)
    late = command(*arguments)
    assert (late.returncode, late.stderr.count("\n")) == (1, 1)
    assert "waits for no tool results" in late.stderr


@pytest.mark.parametrize("form", ["mapping", "list", "body"])
def test_results_may_come_from_a_file_or_a_pipe(command: CommandLine, tmp_path: Path, form: str) -> None:
    run_id = asking(command)
    (call,) = shown(command, run_id)["waiting_for"]
    one = [{"tool_call_id": call["id"], "content": "rain"}]
    given = {"mapping": {call["id"]: "rain"}, "list": one, "body": {"tool_results": one}}[form]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(given))
    if form == "list":
        line = [sys.executable, "-m", "noukai_worker", "resume", run_id, "--results", "-", "--json"]
        with file.open() as pipe:
            answer = subprocess.run(
                line, env=command.environment, stdin=pipe, capture_output=True, text=True, check=True
            )
        (told,) = map(json.loads, answer.stdout.splitlines())
    else:
        (told,) = command.json("resume", run_id, "--results", str(file))
    assert (told["id"], told["status"]) == (run_id, "queued")
    entries = command.json("watch", run_id, "--after", str(told["position"]))
    assert (entries[0]["type"], entries[-1]["type"]) == ("run.resumed", "run.completed")


def test_a_failed_run_tells_the_command_that_redrives_it(command: CommandLine, flow_server_process: FlowServer) -> None:
    (run_id,) = failed(command, flow_server_process, "BROKEN_ONCE")
    (line,) = command("dead", "list", "--code", "BROKEN_ONCE").stdout.splitlines()
    assert line.split("\t")[:2] == [run_id, "BROKEN_ONCE"]
    assert line.split("\t")[3:6] == ["1", FLOW, "stream"]
    (listed,) = command.json("dead", "list", "--code", "BROKEN_ONCE", "--flow", FLOW, "--since", "1h", "--limit", "5")
    assert listed == shown(command, run_id)
    arguments = typed(command, run_id)
    assert arguments == ["dead", "redrive", run_id]
    answer = command(*arguments)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"{run_id} redriven\n", "")
    assert command("watch", run_id).returncode == 0
    again = command(*arguments)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"error: run {run_id} is completed: only a failed run can be redriven\n"


def test_many_are_redriven_at_once_and_one_that_is_refused_stops_none(
    command: CommandLine, flow_server_process: FlowServer
) -> None:
    ids = failed(command, flow_server_process, "BROKEN_OFTEN", 3)
    answer = command("dead", "redrive", ids[0], "nobody", ids[0], ids[1])
    assert answer.returncode == 1
    assert answer.stdout.splitlines() == [f"{ids[0]} redriven", f"{ids[1]} redriven"]
    assert answer.stderr.startswith("error: no run nobody")
    assert command.json("dead", "redrive", "--all", "--code", "BROKEN_OFTEN", "--since", "1h") == [
        {"id": ids[2], "status": "queued"}
    ]
    for run_id in ids:
        reaches(command, run_id, State.COMPLETED)
    nothing = command("dead", "redrive", "--all", "--code", "BROKEN_OFTEN")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "")
