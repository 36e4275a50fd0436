"""The pub/sub connection, blocking or awaiting: it says that something happened; what happened is in the log.

These are bare connections and not redis-py's `PubSub`, because that one reconnects and subscribes again without a word, and a
reader has to know when messages may have been missed.

On a cluster a bell hangs at one node, and rings for the runs whose slots that node has: there entries are published with SPUBLISH.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from ..redis_url import RedisUrl
from ..runs import connections
from ..runs.connections import Node

_SEND_WITHIN = 10.0
_AT_ONCE = 500

_RESP2 = 2
"""Every message is a plain array, on every server version."""

MESSAGE = frozenset({b"message", b"smessage"})
SUBSCRIBED = frozenset({b"subscribe", b"ssubscribe"})
MOVED_AWAY = b"sunsubscribe"
"""Unasked, it says that the node has lost the run's slot."""


class AsyncBell:
    """One connection in subscribed state. All methods raise redis-py's errors or OSError."""

    def __init__(self, url: RedisUrl, node: Node | None = None) -> None:
        self._pool = connections.async_pool(
            url, node, protocol=_RESP2, socket_timeout=None, retry=AsyncRetry(NoBackoff(), 0)
        )
        self._sharded = node is not None
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

    async def send(self, outbox: Iterable[tuple[str, bytes]]) -> None:
        """Send commands (SUBSCRIBE, UNSUBSCRIBE or PING, and a channel); the answers arrive among the messages."""
        commands = _sharded(outbox) if self._sharded else _merged(outbox)
        await self._connection.send_packed_command(self._connection.pack_commands(commands))

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

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self._pool: Any = None
        self._connection: Any = None
        self._silences = 0

    def connect(self, channel: str, node: Node | None = None) -> None:
        """Open a new connection, to the `node` of a cluster that has the channel, subscribe and wait for the confirmation.

        An older connection is closed.
        """
        self.close()
        self._pool = connections.pool(
            self._url, node, protocol=_RESP2, socket_timeout=_SEND_WITHIN, retry=Retry(NoBackoff(), 0)
        )
        self._connection = connections.single(self._pool)
        self._connection.connect()
        self._connection.send_command("SSUBSCRIBE" if node else "SUBSCRIBE", channel)
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
        if not isinstance(answer, list):
            return [answer]
        if answer[0] == MOVED_AWAY:
            raise RedisConnectionError("the run's slot has moved to another node")
        return answer

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
        if self._pool is not None:
            self._pool.disconnect()


def _merged(outbox: Iterable[tuple[str, bytes]]) -> Iterable[list[str | bytes]]:
    """Neighbours with the same word as one command: SUBSCRIBE takes many channels."""
    words: list[str | bytes] = []
    for word, channel in outbox:
        if words and (words[0] != word or len(words) > _AT_ONCE):
            yield words
            words = []
        if not words:
            words.append(word)
        words.append(channel)
    if words:
        yield words


def _sharded(outbox: Iterable[tuple[str, bytes]]) -> Iterable[list[str | bytes]]:
    """One command for each: the channels of one SSUBSCRIBE must be in one slot."""
    return ([word, channel] if word == "PING" else [f"S{word}", channel] for word, channel in outbox)
