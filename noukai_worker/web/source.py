"""Where a router reads runs: one hub, opened with the application and closed with it."""

from __future__ import annotations

import asyncio
from typing import Self

from ..settings import Settings
from ..subscriber import Hub

GATHER = 0.05
"""Seconds between two pieces of a busy stream: nobody reads faster, and a piece costs the same whatever is in it."""


class Source:
    """The hub of the running event loop. Opens no connection before it is needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._hub: Hub | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def hub(self) -> Hub:
        """The hub; a new one if the application never told us that it starts (its lifespan is not run)."""
        loop = asyncio.get_running_loop()
        if self._hub is None or self._loop is not loop:
            self._hub = Hub(self.settings.redis_url, buffer=self.settings.reader_buffer, gather=GATHER)
            self._loop = loop
        return self._hub

    def stop(self) -> None:
        """End all streams now: the process is about to exit."""
        if self._hub is not None:
            self._hub.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        hub, self._hub = self._hub, None
        if hub is not None:
            await hub.aclose()
