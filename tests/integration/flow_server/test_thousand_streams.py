"""A thousand streams at once in one flow server: all open at the same time, each complete and in order."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from noukai_sdk.testing import FlowServer, flow_server
from tests.support.processes import until

pytestmark = pytest.mark.integration

STREAMS = 1000
NUMBERS = 20
FLOWS = f"""
[[flow]]
path = "acme/test/thousand"
[[flow.step]]
id = "first"
output = "first of {{message}}"
[[flow.step]]
id = "numbers"
gate = "thousand"
burst = {{ events = {NUMBERS} }}
output = "{{message}}"
"""


@pytest.fixture
def enough_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = STREAMS + 500
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"this machine allows only {hard} open files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FlowServer]:
    flows = tmp_path / "flows.toml"
    flows.write_text(FLOWS)
    with flow_server(flows) as server:
        yield server


def resident(pid: int) -> int | None:
    """Resident memory of a process in bytes, where the system tells it."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


async def read(http: httpx.AsyncClient, url: str, message: str) -> list[tuple[str, dict[str, Any]]]:
    async with http.stream("POST", url, json={"message": message, "runRemaining": True}) as answer:
        assert answer.status_code == 200
        text = "".join([piece async for piece in answer.aiter_text()])
    frames = [frame.split("\n") for frame in text.split("\n\n")[:-1] if not frame.startswith(":")]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in frames]


async def read_all(server: FlowServer) -> tuple[list[list[tuple[str, dict[str, Any]]]], int | None]:
    url = f"{server.base_url}/seq/acme/test/thousand/step"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=60, trust_env=False) as http:
        streams = [asyncio.ensure_future(read(http, url, f"stream {number}")) for number in range(STREAMS)]
        await asyncio.to_thread(until, lambda: server.held("thousand") == STREAMS, "all streams wait at the gate")
        assert not any(stream.done() for stream in streams)
        full = resident(server.pid)
        assert await asyncio.to_thread(server.release, "thousand") == STREAMS
        return await asyncio.gather(*streams), full


@pytest.mark.usefixtures("enough_files")
def test_a_thousand_streams_are_open_at_once_and_each_is_whole(server: FlowServer) -> None:
    empty = resident(server.pid)
    streams, full = asyncio.run(read_all(server))
    runs = set()
    for number, events in enumerate(streams):
        names = [name for name, _ in events]
        assert names == [
            "run_started",
            "step_started",
            "step_completed",
            "step_started",
            *["step_output"] * NUMBERS,
            "step_completed",
            "flow_completed",
        ]
        assert [data["outputData"]["n"] for name, data in events if name == "step_output"] == list(range(NUMBERS))
        assert events[-1][1]["result"] == f"stream {number}"
        runs.add(events[0][1]["executionId"])
    assert len(runs) == STREAMS
    counts = server.counts()
    assert set(counts["runs"]) == runs
    assert {run["status"] for run in counts["runs"].values()} == {"completed"}
    assert counts["flows"]["acme/test/thousand"]["steps"]["numbers"]["completed"] == STREAMS
    if empty is not None and full is not None:
        sys.stdout.write(f"resident: {empty / 1e6:.0f} MB idle, {full / 1e6:.0f} MB with {STREAMS} open streams\n")
        assert (full - empty) / STREAMS < 100_000, "bytes for each open stream"
