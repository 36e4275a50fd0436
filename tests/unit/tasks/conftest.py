from __future__ import annotations

import contextlib
from collections.abc import Iterator

import fakeredis
import pytest

from noukai_worker import tools
from noukai_worker.settings import Settings, adopt

from .stage import Stage


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Stage]:
    monkeypatch.setattr(tools, "_functions", {})
    adopt(Settings(tool_rounds=2))
    with contextlib.closing(fakeredis.FakeRedis()) as client:
        yield Stage(client, monkeypatch, getattr(request.module, "MODE", "execute"))
    adopt(None)
