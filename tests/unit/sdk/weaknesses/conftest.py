"""Both clients, as they are made by default, on a server of the test's own."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from noukai_sdk import AsyncNoukai, AsyncRelayFlow, Noukai, RelayFlow
from tests.support.sockets import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


class Live:
    """One of the two clients; what is awaited here is played by either."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    @asynccontextmanager
    async def flow(self, url: str, **options: Any) -> AsyncIterator[Any]:
        options = {"base_url": url, "max_retries": 0, **options}
        if self.kind == "sync":
            with Noukai("nk_x", **options) as client:
                yield client.flow("acme/it/weak")
        else:
            async with AsyncNoukai("nk_x", **options) as aclient:
                yield aclient.flow("acme/it/weak")

    @asynccontextmanager
    async def relay_flow(self, url: str) -> AsyncIterator[Any]:
        if self.kind == "sync":
            with RelayFlow(url, timeout=5) as flow:
                yield flow
        else:
            async with AsyncRelayFlow(url, timeout=5) as aflow:
                yield aflow

    async def get(self, answer: Any) -> Any:
        """What a method returned."""
        return await answer if inspect.isawaitable(answer) else answer

    async def next(self, stream: Any) -> Any:
        """The next item, None at the end."""
        return next(stream, None) if self.kind == "sync" else await anext(stream, None)

    async def all(self, stream: Any, into: list[Any] | None = None) -> list[Any]:
        """The items; those before an error are in `into`."""
        items = [] if into is None else into
        while (item := await self.next(stream)) is not None:
            items.append(item)
        return items

    async def close(self, stream: Any) -> None:
        stream.close() if self.kind == "sync" else await stream.aclose()


@pytest.fixture(params=["sync", "async"])
def live(request: pytest.FixtureRequest) -> Live:
    return Live(request.param)
