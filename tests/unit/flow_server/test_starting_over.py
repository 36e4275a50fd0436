"""POST /_control/reset: one test leaves nothing to the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from noukai_worker.dev.flow_server import load_flows, running

FLOWS = """
[[flow]]
path = "a/b/c"
[[flow.step]]
id = "s"
gate = "at {message}"
cost_usd = "0.5"
[[flow.order]]
manner = { status = 418, code = "AT_FIRST" }
"""


@pytest.fixture
def http(tmp_path: Path) -> Iterator[httpx.Client]:
    (tmp_path / "flows.toml").write_text(FLOWS)
    headers = {"Authorization": "Bearer nk_a"}
    with (
        running(flows=load_flows(tmp_path / "flows.toml"), credits={"nk_a": "0.4"}) as server,
        httpx.Client(base_url=server.url, headers=headers, trust_env=False) as http,
    ):
        yield http


def test_everything_is_as_at_the_start(http: httpx.Client) -> None:
    first = {what: http.get(f"/_control/{what}").json() for what in ("manners", "credits")}
    assert first["manners"]["waiting"][0]["manner"]["code"] == "AT_FIRST"
    assert http.post("/api/v1/seq/a/b/c/execute", json={"message": "x"}).status_code == 418
    http.post("/_control/manners", json={"manner": {"status": 503}, "endpoint": "poll"})
    http.post("/_control/gates/at%20x")
    assert http.post("/api/v1/seq/a/b/c/execute", json={"message": "x"}).status_code == 200
    assert http.post("/api/v1/seq/a/b/c/execute", json={"message": "x"}).status_code == 402
    assert http.post("/_control/reset").json() == {"reset": True}
    assert {what: http.get(f"/_control/{what}").json() for what in first} == first
    assert http.get("/_control/counts").json()["requests"] == []
    assert http.get("/_control/gates").json() == {"gates": {}}
