"""Celery's Redis transport with less of redis-py in it: one client for a connection pool, one command for a message's bookkeeping.

kombu builds a client for each command, and makes a transaction of two commands when it hands a message out and when that is
acknowledged: an eighth of what a run cost its worker. Keys and values in Redis are kombu's, so workers, enqueuers and Flower
with either transport work together.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kombu.transport import redis as kombu
from kombu.utils.json import dumps

if TYPE_CHECKING:
    from redis import Redis

_TAKE = "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2]) redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])"
_GIVE_UP = "redis.call('ZREM', KEYS[1], ARGV[1]) redis.call('HDEL', KEYS[2], ARGV[1])"


class QoS(kombu.QoS):  # type: ignore[misc] # kombu has no types
    """The messages that were handed out: kept until they are acknowledged, for the case that this worker dies."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Keep a message that was taken from its queue."""
        info = message.delivery_info
        kept = dumps([message._raw, info["exchange"], info["routing_key"]])
        self._run(_TAKE, time.time(), delivery_tag, kept)
        super(kombu.QoS, self).append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that was done."""
        self._run(_GIVE_UP, delivery_tag)
        super(kombu.QoS, self).ack(delivery_tag)

    def _run(self, script: str, *arguments: Any) -> None:
        with self.channel.conn_or_acquire() as client:
            self.channel.script(client, script)(keys=(self.unacked_index_key, self.unacked_key), args=arguments)


class Channel(kombu.Channel):  # type: ignore[misc]
    """A channel whose commands share a client: it holds nothing but its pool, and takes 0.1 ms to build."""

    QoS = QoS
    _shared_client: Redis | None = None
    _scripts: dict[str, Any]

    def script(self, client: Redis, text: str) -> Any:
        """A script of that client."""
        found = self._scripts.get(text)
        if found is None:
            found = self._scripts[text] = client.register_script(text)
        return found

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous)
        if self._shared_client is None or self._shared_client.connection_pool is not self.pool:
            self._shared_client, self._scripts = super()._create_client(), {}
        return self._shared_client


class Transport(kombu.Transport):  # type: ignore[misc]
    """What Celery is told to use for a broker on one Redis server (`broker_transport`)."""

    Channel = Channel
