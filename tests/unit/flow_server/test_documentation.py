"""docs/flow-server.md: its flow file runs, and nothing that can be said or asked is missing from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from noukai_worker.dev.flow_server import Chunks, Failure, Flow, Step, Tokens, create_app, load_flows, running
from noukai_worker.dev.flow_server.__main__ import _parser
from noukai_worker.dev.flow_server.flows import Burst
from noukai_worker.dev.flow_server.manners import CALLS, KINDS, READS, Manner, Order
from noukai_worker.dev.flow_server.options import Options
from noukai_worker.dev.flow_server.samples import SAMPLES
from noukai_worker.dev.flow_server.templates import ROOTS

DOCUMENT = (Path(__file__).parents[3] / "docs" / "flow-server.md").read_text()
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("search", "now")]


@pytest.fixture
def flows(tmp_path: Path) -> dict[str, Flow]:
    file = tmp_path / "flows.toml"
    file.write_text(EXAMPLE)
    return load_flows(file)


class Client:
    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url, self.http = url, http

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(self.url + path, json=body)


@pytest.fixture
def client(flows: dict[str, Flow]) -> Iterator[Client]:
    headers = {"Authorization": "Bearer nk_x"}
    with running(flows=flows, seed=1) as server, httpx.Client(headers=headers, trust_env=False) as http:
        http.post(f"{server.url}/_control/gates/review-tea").raise_for_status()
        yield Client(server.base_url + "/seq/acme/news/", http)


def test_the_briefing_runs_with_its_tools_its_failure_and_its_loop(client: Client) -> None:
    call: dict[str, Any] = {"message": "tea", "parameters": {"tone": "dry"}, "tools": TOOLS}
    pause = client.post("briefing/v3/execute", **call).json()
    assert [call["function"]["name"] for call in pause["toolCalls"]] == ["search", "now"]
    for rounds, status in ((2, "tool_calls_required"), (None, "failed")):
        results = [{"role": "tool", "toolCallId": call["id"], "content": "leaves"} for call in pause["toolCalls"]]
        pause = client.post(
            "briefing/v3/execute",
            executionId=pause["executionId"],
            pausedAtStep="research",
            toolCallMessages=[*pause["toolCallMessages"], *results],
            tools=TOOLS,
        ).json()
        assert (pause["status"], pause.get("iterationsUsed")) == (status, rounds)
    assert pause["result"] == "Busy."
    body = client.post("briefing/execute", **call | {"tools": []}).json()
    outline = "1. Why tea? 2. What now? (Outline tea, dry)"
    paragraphs = [f"Paragraph {number} on tea" for number in range(3)]
    assert body["result"] == {"text": paragraphs, "outline": outline}


def test_the_shaky_flow_meets_its_order(client: Client) -> None:
    first, second = (client.post("shaky/step", message="x", runRemaining=True) for _ in range(2))
    assert (first.status_code, first.headers["retry-after"]) == (429, "2")
    assert second.text.count("event: step_output") == 100


def test_every_field_of_the_flow_file_is_in_the_example() -> None:
    for model in (Step, Chunks, Tokens, Failure, Burst):
        for name in model.model_fields:
            assert re.search(rf"\b{name} = ", EXAMPLE), f"{model.__name__}.{name}"
    names = {"steps": "[[flow.step]]", "orders": "[[flow.order]]"}
    for name in Flow.model_fields:
        assert names.get(name, f"{name} = ") in EXAMPLE
    for root in ROOTS:
        assert f"{{{root}" in EXAMPLE


def test_every_manner_is_described() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", DOCUMENT, re.MULTILINE))
    everywhere = {*CALLS, *READS}
    for kind in ("delay", *KINDS):
        where = everywhere if rows[kind] == "all" else set(rows[kind].split(", "))
        assert where == set(KINDS.get(kind, everywhere))
    for name in (*Manner.model_fields, *Order.model_fields, *READS):
        assert f"`{name}`" in DOCUMENT or f"`{name}:" in DOCUMENT or f'"{name}"' in DOCUMENT, name


def test_every_option_is_described() -> None:
    for name in Options.__annotations__:
        assert f"`{name}`" in DOCUMENT
    for action in _parser()._actions:
        for option in action.option_strings:
            if option.startswith("--") and option != "--help":
                assert f"`{option}" in DOCUMENT or f" {option} " in DOCUMENT, option


def test_every_path_is_described() -> None:
    written = {
        re.sub(r"\{[^}]*\}|\[|\]", "", path.replace("[/{version}]", ""))
        for _, path in re.findall(r"`(GET|POST) (/seq/[^`]+)`", DOCUMENT)
    }
    control = {
        re.sub(r"\{[^}]*\}", "", f"{method} {path}")
        for method, path in re.findall(r"`(GET|POST|DELETE) ([a-z]+(?:/\{[^}]+\})?)`", DOCUMENT)
    }
    for route in create_app().routes:
        path = getattr(route, "path", "")
        if path == "/_control":
            for one in route.routes:  # type: ignore[attr-defined]
                for method in one.methods - {"HEAD"}:
                    assert f"{method} {re.sub(r'{[^}]*}', '', one.path).removeprefix('/')}" in control
        elif "{version}" not in path:
            plain = path.removeprefix("/api/v1").replace("{org}/{project}/{slug}", "{flow}")
            assert re.sub(r"\{[^}]*\}", "", plain) in written


def test_every_sample_is_named() -> None:
    for path in SAMPLES:
        assert f"`{path}`" in DOCUMENT or f"`{path.rpartition('/')[2]}`" in DOCUMENT
