from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from noukai_sdk.testing import FlowServer
from tests.support.serving import served


@pytest.fixture
def run_quietly(noukai_server: FlowServer) -> Callable[..., str]:
    """Runs a program in a process of its own, in which `Noukai()` finds the server; what it printed, if it ended well
    and said nothing on standard error."""

    def run(code: str) -> str:
        command = [sys.executable, "-W", "always", "-c", code]
        env = os.environ | noukai_server.env
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.fixture
def serving() -> Callable[[Any], contextlib.AbstractContextManager[str]]:
    """Serves an ASGI application on a free port while the block runs; its URL."""
    return served
