"""The fixtures as a project of somebody else's uses them: pytest in a process and a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from noukai_sdk import AuthenticationError, FlowExecutionError, InsufficientCreditsError
from noukai_sdk.testing import FlowServer, FlowServerFailed, flow_server
from tests.support.processes import until

pytestmark = pytest.mark.integration
REVIEW = """
[[flow]]
path = "acme/tests/review"
[[flow.step]]
id = "draft"
output = "A draft: {message}"
"""


def pytest_in(folder: Path, *arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text('pytest_plugins = ["noukai_sdk.testing.pytest_plugin"]\n')
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


TWO_TESTS = """
def test_one(noukai_server):
    with noukai_server.client() as client:
        assert client.flow("acme/demo/hello-world").execute("you").output == "Hello, you!"
    assert len(noukai_server.counts()["requests"]) == 1
    noukai_server.order(status=503, times=5)
    print("at", noukai_server.url)

def test_two(noukai_server):
    assert noukai_server.counts()["requests"] == []
    assert noukai_server.waiting() == []
    print("at", noukai_server.url)
"""


def test_one_process_serves_all_tests_and_forgets_between_them(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, "-s", test_it=TWO_TESTS)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    urls = {line.split("at ")[1] for line in done.stdout.splitlines() if "at http" in line}
    assert len(urls) == 1
    with pytest.raises(httpx.ConnectError):
        httpx.get(urls.pop(), trust_env=False)


OVERRIDE = """
from pathlib import Path
import pytest

@pytest.fixture(scope="session")
def noukai_flows():
    return Path(__file__).with_name("flows.toml")

def test_mine(noukai_server):
    with noukai_server.client() as client:
        assert client.flow("acme/tests/review").execute("x").output == "A draft: x"
        assert client.flow("acme/demo/hello-world").execute("you").output == "Hello, you!"
"""
PLAIN = """
import pytest
from noukai_sdk import FlowNotFoundError

def test_samples_only(noukai_server):
    with noukai_server.client() as client, pytest.raises(FlowNotFoundError):
        client.flow("acme/tests/review").execute("x")
"""


def test_a_module_may_have_flows_of_its_own_whichever_comes_first(tmp_path: Path) -> None:
    (tmp_path / "flows.toml").write_text(REVIEW)
    for number, names in enumerate([("test_a", "test_b"), ("test_b", "test_a")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "flows.toml").write_text(REVIEW)
        done = pytest_in(folder, *(f"{name}.py" for name in names), test_a=OVERRIDE, test_b=PLAIN)
        assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_a_flow_file_with_a_mistake_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "flows.toml").write_text(REVIEW.replace("id =", "identity ="))
    done = pytest_in(tmp_path, test_a=OVERRIDE)
    assert "1 error" in done.stdout
    said = next(line for line in done.stdout.splitlines() if line.startswith("flow server: "))
    assert said.endswith("flows.toml: flow[0].step[0].id: is missing; add it")
    assert "Traceback" not in done.stdout + done.stderr


WITHOUT = """
import importlib.util
import pytest

@pytest.fixture(scope="session", autouse=True)
def nothing_installed():
    real = importlib.util.find_spec
    importlib.util.find_spec = lambda name: None if name in {"starlette", "uvicorn"} else real(name)
    yield
    importlib.util.find_spec = real

def test_it(noukai_server):
    pass
"""


def test_a_missing_extra_is_told_with_its_remedy(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, test_it=WITHOUT)
    line = "the flow server needs starlette and uvicorn; install it with: pip install 'noukai-worker[dev]'"
    assert done.stdout.splitlines().count(line) == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(FlowServerFailed, match="cannot be read"), flow_server(tmp_path / "none.toml"):
        pass


KILLED = """
import os, signal
from noukai_sdk.testing import flow_server

with flow_server() as server:
    print(server.url, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_server_ends_with_its_tests_even_if_they_are_killed() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    url = done.stdout.strip()

    def gone() -> bool:
        try:
            httpx.get(url, trust_env=False)
        except httpx.ConnectError:
            return True
        except httpx.TransportError:
            return False  # it is about to
        return False

    until(gone, "the flow server has ended")


def test_the_keys(noukai_server: FlowServer) -> None:
    flow = "acme/demo/hello-world"
    with noukai_server.client(api_key="nk_other") as client, pytest.raises(AuthenticationError):
        client.flow(flow).execute("x")
    with noukai_server.client(api_key=noukai_server.broke_api_key) as client, pytest.raises(InsufficientCreditsError):
        client.flow(flow).execute("x")


def test_orders_and_counts_are_narrowed(noukai_server: FlowServer) -> None:
    noukai_server.order(status=500, code="INTERNAL_ERROR", flow="acme/demo/two-step", endpoint="step", for_message="no")
    assert [order["times"] for order in noukai_server.waiting()] == [1]
    with noukai_server.client() as client:
        flow = client.flow("acme/demo/two-step")
        assert [event.step_id for event in flow.steps("yes")] == ["step-a", "step-b"]
        with pytest.raises(FlowExecutionError) as caught:
            list(flow.steps("no"))
    assert caught.value.code == "INTERNAL_ERROR"
    assert noukai_server.waiting() == []
    assert len(noukai_server.counts(message="yes")["runs"]) == 1
    assert len(noukai_server.counts(flow="acme/demo/hello-world")["requests"]) == 0


def test_gates_of_any_name_are_opened_and_closed_again(noukai_server: FlowServer) -> None:
    assert (noukai_server.held("chapter 1?"), noukai_server.release("chapter 1?")) == (0, 0)
    noukai_server.reset()
    assert noukai_server._control("GET", "gates")["gates"] == {}


def test_mistaken_orders_are_the_caller_s(noukai_server: FlowServer) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        noukai_server.order(staus=500)
    with pytest.raises(ValueError, match="'slug' is no filter"):
        noukai_server.counts(slug="x")
    assert noukai_server.waiting() == []


def test_a_server_that_is_gone_is_told() -> None:
    with flow_server() as server:
        pass
    with pytest.raises(FlowServerFailed, match="does not answer"):
        server.reset()


def test_env_leads_clients_here(noukai_server: FlowServer) -> None:
    code = "from noukai_sdk import Noukai\nprint(Noukai().flow('acme/demo/hello-world').execute('you').output)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | noukai_server.env, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("Hello, you!\n", "")
