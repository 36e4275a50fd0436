from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from noukai_sdk.testing import FlowServer
from tests.support.processes import Process, free_port, running, server_binary, until

from .compose_schema import SCHEMA

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
OURS = ("worker", "stream", "web", "flower")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def test_the_file_is_a_compose_file(compose: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(compose, SCHEMA)


@pytest.mark.parametrize(
    "mistake",
    [
        {"services": {"a": {"image": "a", "restarts": "always"}}},
        {"services": {"a": {"image": "a", "stop_grace_period": "30"}}},
        {"services": {"a": {"image": "a", "healthcheck": {"test": ["true"]}}}},
        {"services": {"a": {"command": ["a"]}}},
        {"services": {"a": {"image": "a", "depends_on": {"b": {"condition": "healthy"}}}}},
        {"service": {}},
    ],
)
def test_the_schema_finds_mistakes(mistake: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(mistake, SCHEMA)


def test_what_each_service_needs(compose: dict[str, Any], services: dict[str, Any]) -> None:
    assert set(services) == {"redis", *OURS}
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        assert "healthcheck" in service, name
        assert "stop_grace_period" in service, name
        assert set(service.get("depends_on", {})) <= set(services), name
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(compose["volumes"]), name
    assert all(services[name]["depends_on"] == {"redis": {"condition": "service_healthy"}} for name in OURS)


def test_only_workers_are_given_the_key(services: dict[str, Any]) -> None:
    given = {name for name, service in services.items() if "NOUKAI_API_KEY" in service.get("environment", {})}
    assert given == {"worker", "stream"}
    # Passed through, never written down, and no reason for the others not to start.
    assert all(services[name]["environment"]["NOUKAI_API_KEY"] is None for name in given)


def test_only_the_web_application_is_reachable_from_elsewhere(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"web", "flower"}
    assert all(port.startswith("127.0.0.1:") for port in published["flower"])


def test_redis_keeps_what_was_accepted(services: dict[str, Any]) -> None:
    command = services["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert services["redis"]["volumes"] == ["redis:/data"]


# From here on the services' own commands run, with the environment of the file; only names of machines become loopback.


class Installation:
    """The file's services as processes on this machine."""

    def __init__(self, services: dict[str, Any], flow_server: FlowServer, folder: Path) -> None:
        self._services, self._flow_server, self._folder = services, flow_server, folder
        self._ports = {"6379": str(free_port()), "8000": str(free_port()), "5555": str(free_port())}

    def port(self, inside: int) -> int:
        return int(self._ports[str(inside)])

    def process(self, name: str) -> Process:
        service = self._services[name]
        entry = service.get("entrypoint", [] if name == "redis" else _image_entrypoint())
        command = [self._local(part) for part in (*entry, *service["command"])]
        if name == "redis":
            command = [server_binary(), *command[1:], "--port", self._ports["6379"], "--dir", str(self._folder)]
        else:
            command[0] = str(BIN / command[0])
        return Process(command, self._folder / f"{name}.log", self.environment(name))

    def environment(self, name: str) -> dict[str, str]:
        passed = self._flow_server.env
        given = self._services[name].get("environment", {})
        found = {variable: passed.get(variable) if value is None else value for variable, value in given.items()}
        return {variable: self._local(str(value)) for variable, value in found.items() if value is not None} | {
            "HOSTNAME": socket.gethostname(),
            "PATH": f"{BIN}:{os.environ['PATH']}",
        }

    def healthy(self, name: str) -> bool:
        kind, *test = self._services[name]["healthcheck"]["test"]
        test = [self._local(part.replace("$$", "$")) for part in test]
        command = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        if command[0] == "python":
            command[0] = sys.executable
        kept = {variable: value for variable, value in os.environ.items() if not variable.startswith("NOUKAI_")}
        check = subprocess.run(command, env=kept | self.environment(name), capture_output=True, timeout=60, check=False)
        return check.returncode == 0

    def _local(self, text: str) -> str:
        text = text.replace("redis://redis:", "redis://127.0.0.1:").replace("0.0.0.0", "127.0.0.1")
        return re.sub(r"\b(6379|8000|5555)\b", lambda port: self._ports[port[0]], text)


def _image_entrypoint() -> list[str]:
    (line,) = (line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("ENTRYPOINT "))
    words = yaml.safe_load(line.removeprefix("ENTRYPOINT "))
    assert isinstance(words, list)
    return words


@pytest.fixture(scope="module")
def installation(
    services: dict[str, Any], flow_server_process: FlowServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    installation = Installation(services, flow_server_process, tmp_path_factory.mktemp("compose"))
    redis = installation.process("redis")
    with running(redis):
        until(lambda: _listens(installation.port(6379)), "Redis listens")
        with running(*map(installation.process, OURS)):
            yield installation


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.integration
@pytest.mark.parametrize("name", OURS)
def test_a_service_becomes_healthy_by_its_own_check(installation: Installation, name: str) -> None:
    until(lambda: installation.healthy(name), f"{name} is healthy")


@pytest.mark.integration
@pytest.mark.parametrize("name", OURS)
def test_a_check_fails_where_nothing_runs(
    services: dict[str, Any], flow_server_process: FlowServer, tmp_path: Path, name: str
) -> None:
    assert not Installation(services, flow_server_process, tmp_path).healthy(name)


@pytest.mark.integration
def test_a_run_goes_through_the_whole_installation(installation: Installation) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{installation.port(8000)}", trust_env=False) as client:
        until(lambda: _listens(installation.port(8000)), "the web application listens")
        for mode in ("stream", "execute"):
            accepted = client.post("/runs", json={"flow": "acme/process/default", "message": "x", "mode": mode}).json()
            reading = {"Authorization": f"Bearer {accepted['token']}"}
            path = f"/runs/{accepted['id']}"
            until(lambda: client.get(path, headers=reading).json()["status"] == "completed", f"{mode} completes")  # noqa: B023
    with httpx.Client(base_url=f"http://127.0.0.1:{installation.port(5555)}", trust_env=False) as flower:
        until(lambda: _listens(installation.port(5555)), "Flower listens")
        until(lambda: {"execute", "stream"} <= _nodes(flower.get("/workers").text), "Flower sees both workers")


def _nodes(page: str) -> set[str]:
    return set(re.findall(r"\b(\w+)@", page))
