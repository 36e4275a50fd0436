"""Plays all scenarios twice against one flow server: with the published package, and with ours."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastapi
import pytest

from noukai_sdk import AsyncNoukai
from noukai_sdk.adapters.relay import mount_flow_relay
from noukai_worker.dev.flow_server import FlowServerError, load_flows, running
from tests.compat.scenarios.stage import BROKE_KEY, KEY, OTHER_KEY, OTHER_PROJECT, PORT
from tests.support.environments import python_with
from tests.support.serving import served

HERE = Path(__file__).parent
PUBLISHED = "noukai-sdk==0.5.2"
# All scenarios take half a minute; a machine may be ten times as slow.
_PATIENCE_SECONDS = 300

Outcomes = dict[str, Any]


@pytest.fixture(scope="session")
def published(_played: tuple[Outcomes, Outcomes]) -> Outcomes:
    """What came of each scenario with the published package."""
    return _played[0]


@pytest.fixture(scope="session")
def ours(_played: tuple[Outcomes, Outcomes]) -> Outcomes:
    """What came of each scenario with this package."""
    return _played[1]


@pytest.fixture(scope="session")
def _played() -> tuple[Outcomes, Outcomes]:
    try:
        python = python_with(HERE / ".published-sdk", PUBLISHED)
    except RuntimeError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    with contextlib.ExitStack() as stack:
        try:
            base_url = stack.enter_context(_flow_server())
        except FlowServerError as error:
            raise pytest.fail.Exception(
                f"The published client finds its server at port {PORT} and nowhere else, which cannot be had ({error}). "
                "Stop whatever listens there (a flow server, `noukai-worker dev`?), and run these tests again.",
                pytrace=False,
            ) from None
        relay_url = stack.enter_context(_relay(base_url))
        return _play(python, relay_url), _play(Path(sys.executable), relay_url)


@contextlib.contextmanager
def _flow_server() -> Iterator[str]:
    flows = load_flows(HERE / "flows.toml")
    projects = {OTHER_KEY: OTHER_PROJECT}
    with running(port=PORT, flows=flows, api_keys=[KEY], broke_api_keys=[BROKE_KEY], projects=projects) as server:
        yield server.base_url


@contextlib.contextmanager
def _relay(base_url: str) -> Iterator[str]:
    """A relay before the flow server, mounted by this package."""

    async def authorize(request: fastapi.Request) -> None:
        if (await request.json()).get("message") == "refuse me":
            raise fastapi.HTTPException(403, "not you")

    app, client = fastapi.FastAPI(), AsyncNoukai(KEY, base_url=base_url)
    mount_flow_relay(app, client=client, org="acme", project="compat", slug="tools", authorize=authorize)
    with served(app) as url:
        yield f"{url}/agent/execute"


def _play(python: Path, relay_url: str) -> Outcomes:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NOUKAI_", "PYTHON")) and "proxy" not in name.lower()
    }
    env |= {"NOUKAI_ENV": "dev", "NOUKAI_REPLAY_ENABLED": "1", "COMPAT_RELAY_URL": relay_url}
    command = [python, "-W", "error", HERE / "run.py"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
    # If it was broken off, what was played counts; what was not is missing, and the complaints say why.
    return dict(json.loads(line) for line in done.stdout.splitlines()) | {"complaints": done.stderr}
