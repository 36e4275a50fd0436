"""A running flow server for all tests, wiped between them, and a bare caller that shares no code with the SDK."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from noukai_worker.dev.flow_server import RunningServer, load_flows, running

FLOWS = """
[[flow]]
path = "acme/test/flaky"
[[flow.step]]
id = "first"
[[flow.step]]
id = "second"
output = "second: {previous}"
failure = { times = 1, code = "MODEL_OVERLOADED", message = "Busy." }

[[flow]]
path = "acme/test/slow"
[[flow.step]]
id = "long"
delay = 600

[[flow]]
path = "acme/test/named-tools"
[[flow.step]]
id = "ask"
tool_rounds = [[{ name = "add", arguments = { a = "{parameters.a}", b = 2 } }, { name = "shout" }]]
output = { sum = "{tools}" }

[[flow]]
path = "acme/test/gated"
[[flow.step]]
id = "wait"
gate = "{message}"
chunks = { words = 1 }

[[flow]]
path = "acme/test/gated-and-stopped"
outlives_caller = false
[[flow.step]]
id = "wait"
gate = "{message}"

[[flow]]
path = "acme/test/gated-tools"
[[flow.step]]
id = "ask"
gate = "{message}"
tool_rounds = 1

[[flow]]
path = "acme/test/chapters"
[[flow.step]]
id = "each"
input = "Chapter {loop} of {message}"
output = "({input})"
loop = 3
cost_usd = "0.001"
[[flow.step]]
id = "join"
output = { text = "{previous}" }

[[flow]]
path = "acme/test/many-rounds"
max_tool_rounds = 2
[[flow.step]]
id = "ask"
tool_rounds = 4

[[flow]]
path = "acme/test/loop-tools"
[[flow.step]]
id = "each"
loop = 2
tool_rounds = 1

[[flow]]
path = "acme/test/no-snapshots"
snapshots = false
[[flow.step]]
id = "s"

[[flow]]
path = "acme/test/costly"
[[flow.step]]
id = "one"
cost_usd = "0.02"
[[flow.step]]
id = "two"
cost_usd = "0.001"

[[flow]]
path = "acme/test/unlucky"
[[flow.step]]
id = "never"
failure = { probability = 1.0 }
"""


class Caller:
    """Speaks to one flow server with plain HTTP."""

    def __init__(self, server: RunningServer, client: httpx.Client) -> None:
        self.server = server
        self.http = client

    def url(self, path: str, endpoint: str) -> str:
        return f"{self.server.base_url}/seq/{path}/{endpoint}"

    def execute(self, path: str, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return self.http.post(self.url(path, "execute"), json=body, headers=headers)

    def step(self, path: str, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return self.http.post(self.url(path, "step"), json=body, headers=headers)

    def events(self, path: str, **body: Any) -> list[tuple[str, dict[str, Any]]]:
        answer = self.step(path, **body)
        assert answer.status_code == 200, answer.text
        return frames(answer.text)

    def until_dropped(self, path: str, **body: Any) -> tuple[str, httpx.TransportError | None]:
        text = ""
        try:
            with self.http.stream("POST", self.url(path, "step"), json=body) as answer:
                for piece in answer.iter_text():
                    text += piece
        except httpx.TransportError as exc:
            return text, exc
        return text, None

    def counts(self, **wanted: str) -> dict[str, Any]:
        answer = self.http.get(self.server.url + "/_control/counts", params=wanted)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def order(self, *orders: dict[str, Any]) -> httpx.Response:
        return self.http.post(self.server.url + "/_control/manners", json=list(orders))

    def wait_at_gate(self, name: str, waiting: int = 1) -> None:
        """Return once so many wait at a gate."""
        deadline = time.monotonic() + 10
        while (gates := self.control("GET", "gates")["gates"]).get(name, {}).get("waiting") != waiting:
            assert time.monotonic() < deadline, gates

    def open_gate(self, name: str) -> int:
        return int(self.control("POST", f"gates/{name}")["released"])

    def control(self, method: str, what: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"{self.server.url}/_control/{what}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def run(self, path: str, execution_id: str, what: str, **query: Any) -> httpx.Response:
        return self.http.get(self.url(path, f"runs/{execution_id}/{what}"), params=query)

    @contextmanager
    def at_once(self, call: Callable[[], Any]) -> Iterator[Future[Any]]:
        """Make a call in a thread of its own; a client may be shared between threads."""
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(call)

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], **wanted: str) -> dict[str, Any]:
        deadline = time.monotonic() + 10
        while not condition(counts := self.counts(**wanted)):
            assert time.monotonic() < deadline, counts
        return counts


def frames(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read SSE strictly as WIRE.md 4.2 wants it: LF, one event and one data line, a blank line after each frame."""
    assert "\r" not in text
    assert text == "" or text.endswith("\n\n")
    read = []
    for frame in text.split("\n\n")[:-1]:
        event, data = frame.split("\n")
        read.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return read


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    file = tmp_path_factory.mktemp("flows") / "flows.toml"
    file.write_text(FLOWS)
    with running(
        flows=load_flows(file),
        broke_api_keys=["nk_broke"],
        credits={"nk_poor": "0.01"},
        projects={"nk_bound": "acme/demo"},
    ) as server:
        yield server


@pytest.fixture
def caller(server: RunningServer) -> Iterator[Caller]:
    jobs: list[str] = []

    def note(answer: httpx.Response) -> None:
        if answer.status_code == 202:
            jobs.append(str(answer.request.url).replace("/v0/", "/").replace("/v3/", "/"))
            jobs[-1] += "/" + json.loads(answer.read())["executionId"]

    with httpx.Client(headers={"Authorization": "Bearer nk_test_key"}, trust_env=False, timeout=20) as client:
        client.delete(server.url + "/_control/counts").raise_for_status()
        client.delete(server.url + "/_control/manners").raise_for_status()
        client.event_hooks = {"response": [note]}
        yield Caller(server, client)
        client.delete(server.url + "/_control/manners")
        # A job that goes on would be counted in the next test.
        for job in jobs:
            while client.get(job).raise_for_status().json()["status"] in ("pending", "running"):
                pass


@pytest.fixture
def read_frames() -> Callable[[str], list[tuple[str, dict[str, Any]]]]:
    return frames
