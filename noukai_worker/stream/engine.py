"""What all streaming runs of one event loop share: the SDK clients, the writer and the leases.

Built once per loop and key, never per run (DESIGN 4e).
"""

from __future__ import annotations

import asyncio
import weakref
from typing import ClassVar

import noukai_sdk

from ..runs import AsyncRunStore
from ..settings import Settings
from .held import Holdings
from .writer import Writer


class Engine:
    """Made in the running loop; `aclose` there, too."""

    _of_loop: ClassVar[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Engine]] = weakref.WeakKeyDictionary()

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = AsyncRunStore(settings.redis_url, answer_within=settings.answer_within)
        self.writer = Writer(self._store)
        self.holdings = Holdings(self.writer, lease=settings.lease, pickup=settings.pickup)
        self._clients: dict[str, noukai_sdk.AsyncNoukai] = {}
        self._claimed_by_closer = False

    @classmethod
    def here(cls, settings: Settings) -> Engine:
        """The engine of the running loop, made on first use."""
        loop = asyncio.get_running_loop()
        engine = cls._of_loop.get(loop)
        if engine is None:
            engine = cls._of_loop[loop] = cls(settings)
        return engine

    @property
    def fresh(self) -> bool:
        """True once: for whoever sees to it that the engine is closed."""
        fresh, self._claimed_by_closer = not self._claimed_by_closer, True
        return fresh

    def client(self, credential: str) -> noukai_sdk.AsyncNoukai:
        """The SDK client of a credential. Raises CredentialMissing. Retries are the run's, not the client's."""
        client = self._clients.get(credential)
        if client is None:
            client = self._clients[credential] = noukai_sdk.AsyncNoukai(
                self._settings.key(credential),
                env=self._settings.env,
                base_url=self._settings.base_url,
                timeout=self._settings.request_timeout,
                max_retries=0,
                # Each run holds one while it streams; how many there may be is the worker's concurrency.
                max_connections=None,
            )
        return client

    async def aclose(self) -> None:
        """Close everything; runs must have ended."""
        self._of_loop.pop(asyncio.get_running_loop(), None)
        await self.holdings.aclose()
        for client in self._clients.values():
            await client.aclose()
        await self._store.aclose()
