"""This room holds pytest fixtures; a root conftest.py loads them: `pytest_plugins = ["noukai_sdk.testing.pytest_plugin"]`.

`noukai_server` is a `FlowServer`. Its process is started once for all tests, and is as just started for
each. Override the fixture `noukai_flows` to offer flows of your own. Fixtures of a wider scope take `noukai_servers()`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Protocol

import pytest

from noukai_sdk.testing import FlowServer, FlowServerFailed, flow_server

Flows = str | os.PathLike[str] | None


class Servers(Protocol):
    """What the fixture `noukai_servers` is."""

    def __call__(self, flows: Flows = None) -> FlowServer: ...


@pytest.fixture(scope="session")
def noukai_flows() -> Flows:
    """The flow file to offer beside the samples; override it for your tests, a module or a folder of them."""
    return None


@pytest.fixture(scope="session")
def noukai_servers() -> Iterator[Servers]:
    """Gives the process for a flow file (none: the samples only), started when first asked for; nobody wipes it."""
    servers: dict[str, FlowServer] = {}
    with contextlib.ExitStack() as stack:

        def server(flows: Flows = None) -> FlowServer:
            name = "" if flows is None else os.path.abspath(flows)  # noqa: PTH100 -- a key, not a path to follow
            try:
                if name not in servers:
                    servers[name] = stack.enter_context(flow_server(flows))
            except FlowServerFailed as error:
                raise pytest.fail.Exception(str(error), pytrace=False) from None
            return servers[name]

        yield server


@pytest.fixture
def noukai_server(noukai_servers: Servers, noukai_flows: Flows) -> Iterator[FlowServer]:
    """A local Noukai on a free port, wiped for this test."""
    server = noukai_servers(noukai_flows)
    server.reset()
    yield server
    server.reset()  # its orders must not meet whoever uses the process without this fixture
