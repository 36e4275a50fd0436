"""Opens connections to what a Redis URL names: a server, the primary that Sentinels know at that moment, or a node of a cluster."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from ..redis_url import Kind, RedisUrl

CONNECT_WITHIN = 5.0
"""Seconds that a server may take to accept a connection."""


class _SentinelPool(redis.sentinel.SentinelConnectionPool, redis.BlockingConnectionPool):
    """Connections to the primary that the Sentinels name when each is opened; a bounded number of them."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                sentinel.close()


class _AsyncSentinelPool(redis.asyncio.sentinel.SentinelConnectionPool, redis.asyncio.BlockingConnectionPool):
    """The same for an event loop."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


Node = tuple[str, int]
"""Host and port of a node of a cluster."""


def pool(url: RedisUrl, node: Node | None = None, **options: Any) -> Any:
    """A blocking pool for threads; `options` are redis-py's. Connects when first used. On a cluster, to one `node` of it."""
    options = {"socket_connect_timeout": CONNECT_WITHIN, "retry": Retry(NoBackoff(), 1)} | options
    if url.kind is Kind.SENTINEL:
        known: Any = redis.sentinel.Sentinel
        sentinels = known(url.nodes, sentinel_kwargs=_sentinels(url, Retry(NoBackoff(), 0)))
        behind: Any = _SentinelPool
        return behind(url.primary, sentinels, **_behind_sentinels(url), **options)
    return redis.BlockingConnectionPool.from_url(url.server(*(node or _first(url))), **options)


def async_pool(url: RedisUrl, node: Node | None = None, **options: Any) -> Any:
    """A blocking pool for one event loop."""
    options = {"socket_connect_timeout": CONNECT_WITHIN, "retry": AsyncRetry(NoBackoff(), 1)} | options
    if url.kind is Kind.SENTINEL:
        known: Any = redis.asyncio.sentinel.Sentinel
        sentinels = known(url.nodes, sentinel_kwargs=_sentinels(url, AsyncRetry(NoBackoff(), 0)))
        behind: Any = _AsyncSentinelPool
        return behind(url.primary, sentinels, **_behind_sentinels(url), **options)
    return redis.asyncio.BlockingConnectionPool.from_url(url.server(*(node or _first(url))), **options)


def single(pool: Any) -> Any:
    """A connection like those of a pool, but nobody else's: the caller connects and closes it."""
    return pool.connection_class(**pool.connection_kwargs)


def _first(url: RedisUrl) -> Node:
    return url.nodes[0] if url.nodes else ("", 0)


def _behind_sentinels(url: RedisUrl) -> dict[str, Any]:
    options = _options(url)
    return {name: value for name, value in options.items() if name not in ("host", "port")} | {"ssl": url.tls}


def _sentinels(url: RedisUrl, retry: Any) -> dict[str, Any]:
    tls = {name: value for name, value in _options(url).items() if name.startswith("ssl_")}
    times = {"socket_timeout": CONNECT_WITHIN, "socket_connect_timeout": CONNECT_WITHIN, "retry": retry}
    return times | url.sentinels_own | tls | {"ssl": url.tls}


def _options(url: RedisUrl) -> dict[str, Any]:
    options: dict[str, Any] = parse_url(url.server(*_first(url)))  # type: ignore[no-untyped-call]
    options.pop("connection_class", None)
    return options
