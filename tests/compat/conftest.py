"""Plays every scenario twice against one flow server: with the published package, and with ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noukai_worker.dev.flow_server import FlowServerError, load_flows, running
from tests.compat.scenarios.stage import BROKE_KEY, KEY, OTHER_KEY, OTHER_PROJECT, PORT
from tests.support.environments import python_with

HERE = Path(__file__).parent
PUBLISHED = "noukai-sdk==0.5.2"
# A hundred scenarios take half a minute; a machine may be ten times as slow.
_PATIENCE_SECONDS = 300

Outcomes = dict[str, Any]


@pytest.fixture(scope="session")
def _server() -> Iterator[None]:
    options: Any = {
        "flows": load_flows(HERE / "flows.toml"),
        "api_keys": [KEY],
        "broke_api_keys": [BROKE_KEY],
        "projects": {OTHER_KEY: OTHER_PROJECT},
    }
    try:
        with running(port=PORT, **options):
            yield
    except FlowServerError as error:
        pytest.fail(
            f"{error}\nThe published client finds its server at port {PORT} and nowhere else: stop whatever listens "
            f"there (a flow server, `noukai-worker dev`?) and run these tests again.",
            pytrace=False,
        )


@pytest.fixture(scope="session")
def published(_server: None) -> Outcomes:
    """What came of each scenario with the published package."""
    try:
        python = python_with(HERE / ".published-sdk", PUBLISHED)
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)
    return _play(python)


@pytest.fixture(scope="session")
def ours(_server: None) -> Outcomes:
    """What came of each scenario with this package."""
    return _play(Path(sys.executable))


def _play(python: Path) -> Outcomes:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NOUKAI_", "PYTHON")) and "proxy" not in name.lower()
    }
    env |= {"NOUKAI_ENV": "dev", "NOUKAI_REPLAY_ENABLED": "1"}
    command = [python, "-W", "error", HERE / "run.py"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
    outcomes = dict(json.loads(line) for line in done.stdout.splitlines())
    if done.returncode:
        # What was played counts; what was not is missing, and says why.
        outcomes["broken off"] = done.stderr
    return outcomes
