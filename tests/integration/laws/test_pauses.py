"""Flows that need tools: answered by functions in the worker, or by whoever reads the log, once, on any worker, later."""

from __future__ import annotations

from pathlib import Path

import pytest

from noukai_worker import Run, enqueue
from noukai_worker.runs import Mode, State
from tests.integration.conftest import House
from tests.support.processes import until

pytestmark = pytest.mark.integration

FLOW = "acme/test/tools"
FLOWS = """
[[flow]]
path = "acme/test/tools"

[[flow.step]]
id = "ask"
tool_rounds = [[{ name = "weather", arguments = { city = "{message}" } }], [{ name = "clock" }]]
output = "{tools}"

[[flow.step]]
id = "write"
gate = "write"
output = "said: {previous}"
"""
MODULE = """
import pathlib
from noukai_worker import tools

HERE = pathlib.Path(__file__).parent

@tools.register("weather")
def weather(city: str) -> str:
    with (HERE / "calls").open("a") as calls:
        calls.write(f"weather {city} {tools.call().metadata['user']}\\n")
    return f"rain in {city}"

@tools.register("clock")
async def clock() -> dict:
    with (HERE / "calls").open("a") as calls:
        calls.write("clock\\n")
    return {"hour": 5}
"""
STUCK = """
import threading

def stuck(city: str) -> None:
    (HERE / "stuck").touch()
    threading.Event().wait(60)

stuck.__module__, stuck.__qualname__ = weather.__module__, weather.__qualname__
tools.register("weather")(stuck)
"""
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("weather", "clock")
]
MODES: tuple[Mode, ...] = ("stream", "execute")


@pytest.fixture(scope="module")
def noukai_flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flows") / "flows.toml"
    path.write_text(FLOWS)
    return path


@pytest.fixture
def functions(house: House) -> dict[str, str]:
    """What a worker's environment must say to have the functions."""
    (house.folder / "our_tools.py").write_text(MODULE)
    return {"PYTHONPATH": str(house.folder), "NOUKAI_WORKER_INCLUDE": "our_tools"}


def asking(mode: Mode) -> Run:
    return enqueue(FLOW, message="Graz", mode=mode, tools=TOOLS, metadata={"user": 5})


def calls(house: House) -> list[str]:
    return (house.folder / "calls").read_text().splitlines()


@pytest.mark.parametrize("mode", MODES)
def test_functions_in_the_worker_answer_round_after_round(house: House, mode: Mode, functions: dict[str, str]) -> None:
    house.worker(mode, **functions)
    house.flow_server.release("write")
    run = asking(mode)
    (view,) = house.wait(run.id)
    assert view.state is State.COMPLETED
    assert "rain in Graz" in str(view.result)
    assert calls(house) == ["weather Graz 5", "clock"]
    types = house.types(run.id)
    assert types.count("run.resumed") == 2
    assert types.count("run.started") == 1
    assert "run.paused" not in types


@pytest.mark.parametrize("mode", MODES)
def test_what_a_lost_worker_has_answered_is_not_asked_again(
    house: House, mode: Mode, functions: dict[str, str]
) -> None:
    victim = house.worker(mode, NOUKAI_WORKER_LEASE="2", **functions)
    run = asking(mode)
    until(lambda: house.flow_server.held("write") == 1, "the tools are answered, the next step is at its gate")
    victim.kill()
    house.worker(mode, NOUKAI_WORKER_LEASE="2", **functions)
    until(lambda: house.view(run.id).attempt == 2, "another worker has taken over")
    house.flow_server.release("write")
    (view,) = house.wait(run.id)
    assert view.state is State.COMPLETED
    assert calls(house) == ["weather Graz 5", "clock"]


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("mode", MODES)
def test_a_worker_that_is_lost_over_its_functions_loses_no_run(
    house: House, mode: Mode, functions: dict[str, str], how: str
) -> None:
    """The flow waits at the service, and nobody else may know for what."""
    (house.folder / "our_tools.py").write_text(MODULE + STUCK)
    env = functions | {"NOUKAI_WORKER_LEASE": "2", "NOUKAI_WORKER_EXECUTE_GRACE": "0", "NOUKAI_WORKER_DRAIN_GRACE": "1"}
    victim = house.worker(mode, **env)
    run = asking(mode)
    until((house.folder / "stuck").exists, "a function is at work")
    getattr(victim, how)()
    (house.folder / "our_tools.py").write_text(MODULE)
    house.worker(mode, **env)
    house.flow_server.release("write")
    (view,) = house.wait(run.id)
    assert (view.state, view.failure) == (State.COMPLETED, None)
    assert calls(house) == ["weather Graz 5", "clock"]
    assert house.flow_server.counts()["flows"][FLOW]["steps"]["write"]["started"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_flow_that_asks_without_end_is_stopped(house: House, mode: Mode, functions: dict[str, str]) -> None:
    house.worker(mode, NOUKAI_WORKER_TOOL_ROUNDS="1", **functions)
    run = asking(mode)
    (view,) = house.wait(run.id)
    assert view.failure
    assert view.failure.code == "tool_rounds_exhausted"


@pytest.mark.parametrize("mode", MODES)
def test_without_a_function_the_run_waits_and_goes_on_with_its_answer_elsewhere(house: House, mode: Mode) -> None:
    first = house.worker(mode, NOUKAI_WORKER_STREAM_CONCURRENCY="1", NOUKAI_WORKER_EXECUTE_CONCURRENCY="1")
    run = asking(mode)
    for n, name in enumerate(("weather", "clock")):
        until(lambda: house.view(run.id).state is State.PAUSED, f"it waits for the {name}")
        waiting = house.log(run.id)[-1]
        (call,) = waiting.data["tool_calls"]
        assert call["function"]["name"] == name
        other = enqueue("acme/demo/hello-world", message="x", mode=mode)
        assert house.wait(other.id)[0].state is State.COMPLETED, "the one place of the worker is free"
        if n == 0:
            first.stop()
            house.worker(mode)
        run.resume([{"toolCallId": call["id"], "content": f"answer {n}"}])
    house.flow_server.release("write")
    (view,) = house.wait(run.id)
    assert view.state is State.COMPLETED
    assert "answer 0" in str(view.result)
    steps = house.flow_server.counts()["flows"][FLOW]["steps"]
    assert steps["ask"]["completed"] == steps["write"]["completed"] == 1
