"""The pub/sub connection, blocking or awaiting: it says that something happened; what happened is in the log.

These are bare connections and not redis-py's `PubSub`, because that one reconnects and subscribes again without a word, and a
reader has to know when messages may have been missed.
"""

from __future__ import annotations

import math
from typing import Any

from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from ..redis_url import RedisUrl
from ..runs import connections

_SEND_WITHIN = 10.0

_RESP2 = 2
"""Every message is a plain array, on every server version."""


class AsyncBell:
    """One connection in subscribed state. All methods raise redis-py's errors or OSError."""

    def __init__(self, url: str) -> None:
        self._pool = connections.async_pool(
            RedisUrl.parse(url), protocol=_RESP2, socket_timeout=None, retry=AsyncRetry(NoBackoff(), 0)
        )
        self._connection: Any = None

    @property
    def connected(self) -> bool:
        """Whether commands can be sent."""
        return self._connection is not None and bool(self._connection.is_connected)

    async def connect(self) -> None:
        """Open a new connection; an older one is closed."""
        await self.aclose()
        connection = connections.single(self._pool)
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection

    async def send(self, *words: str | bytes) -> None:
        """Send a command; the answer arrives among the messages."""
        await self._connection.send_command(*words)

    async def receive(self) -> list[Any]:
        """The next message or answer, however long it takes."""
        answer = await self._connection.read_response(timeout=math.inf, disconnect_on_error=False, push_request=True)
        return answer if isinstance(answer, list) else [answer]

    async def aclose(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
        await self._pool.disconnect()


class Bell:
    """One connection in subscribed state, for a thread. All methods raise redis-py's errors or OSError."""

    def __init__(self, url: str) -> None:
        self._pool = connections.pool(
            RedisUrl.parse(url), protocol=_RESP2, socket_timeout=_SEND_WITHIN, retry=Retry(NoBackoff(), 0)
        )
        self._connection: Any = None
        self._silences = 0

    def connect(self, channel: str) -> None:
        """Open a new connection, subscribe and wait for the confirmation; an older connection is closed."""
        self.close()
        self._connection = connections.single(self._pool)
        self._connection.connect()
        self._connection.send_command("SUBSCRIBE", channel)
        self._connection.read_response(push_request=True)
        self._silences = 0

    def receive(self, timeout: float) -> list[Any] | None:
        """The next message or answer; None after `timeout` seconds of silence. A dead connection is found out by and by."""
        if not self._connection.can_read(timeout):
            self._silences += 1
            if self._silences > 2:
                raise RedisConnectionError("the pub/sub connection does not answer")
            self._connection.send_command("PING")
            return None
        self._silences = 0
        answer = self._connection.read_response(push_request=True)
        return answer if isinstance(answer, list) else [answer]

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
        self._pool.disconnect()
