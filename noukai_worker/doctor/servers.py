"""Looks at a Redis: asks it about itself, and tries what runs need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from ..redis_url import Kind, RedisUrl
from ..runs import connections
from ..runs.connections import Node
from ..runs.store import unavailable
from .facts import Server
from .probe import Probed, probe

WITHIN = 3.0
"""Seconds that one answer is waited for."""
_PINGS = 5


def connect(url: RedisUrl, node: Node | None = None) -> redis.Redis:
    """A client for a look: patient for a moment, once. On a cluster, at one node. Raises ValueError for what it cannot use."""
    pool = connections.pool(
        url,
        node,
        protocol=2,  # HELLO, which 3 begins with, is one more command that may be denied
        socket_timeout=WITHIN,
        socket_connect_timeout=WITHIN,
        retry=Retry(NoBackoff(), 0),
    )
    return redis.Redis.from_pool(pool)


def look_at(url: str) -> Server:
    """The server that keeps the runs; of a cluster, the first of the named nodes that is in trouble, or the first.

    Raises nothing: what goes wrong is a fact.
    """
    try:
        parsed = RedisUrl.parse(url)
        clustered = parsed.kind is Kind.CLUSTER
        seen = [_look_at(parsed, node, writes=not clustered) for node in (parsed.nodes if clustered else (None,))]
    except ValueError:  # its text, and what can be made of the URL, may hold a part of the password
        return Server(
            "NOUKAI_REDIS_URL", trouble="the URL cannot be read: percent-encode what is special in user and password"
        )
    return next((server for server in seen if server.trouble), seen[0])


def _look_at(url: RedisUrl, node: Node | None, *, writes: bool) -> Server:
    client = connect(url, node)
    try:
        return examine(client, f"{node[0]}:{node[1]}" if node else url.shown, writes=writes)
    finally:
        client.close()


def examine(client: redis.Redis, shown: str, *, writes: bool) -> Server:
    """A server by a client for it; `writes`: try the commands of runs, too. Raises nothing."""
    try:
        return _examine(client, shown, writes=writes)
    except (RedisError, OSError) as error:
        return Server(shown, trouble=unavailable(shown, error).reason)


def _examine(client: redis.Redis, shown: str, *, writes: bool) -> Server:
    asked = _Asked()
    skew, latency = _clocks(client)
    info = asked.of("INFO", client.info) or {}
    saves = asked.of("CONFIG GET", lambda: client.config_get("save")) or {}
    syncs = (asked.of("CONFIG GET", lambda: client.config_get("appendfsync")) if saves else None) or {}
    probed = probe(client) if writes else Probed((), None)
    version = str(info.get("redis_version", ""))
    return Server(
        address=shown,
        silent=tuple(dict.fromkeys(asked.refused)),
        identity=info.get("run_id"),
        product="Valkey" if "valkey_version" in info else "Redis",
        version=tuple(int(part) for part in version.split(".")[:3] if part.isdigit()) or None,
        replica=info.get("role") == "slave" and bool(int(info.get("slave_read_only", 1))),
        clustered=bool(int(info.get("cluster_enabled", 0))),
        policy=info.get("maxmemory_policy"),
        memory=int(info.get("used_memory", 0)),
        memory_limit=int(info.get("maxmemory", 0)),
        log=bool(int(info["aof_enabled"])) if "aof_enabled" in info else None,
        snapshots=bool(_text(saves["save"])) if "save" in saves else None,
        fsync=_text(syncs["appendfsync"]) if "appendfsync" in syncs else None,
        failing=_failing(info),
        skew=skew,
        latency=latency,
        denied=probed.denied,
        refuses=probed.refuses,
    )


def _clocks(client: redis.Redis) -> tuple[float, float]:
    """By how much the server's clock surely differs from ours, and how long the fastest answer took; both in seconds."""
    trips = []
    for _ in range(_PINGS):
        begin = time.monotonic()
        here = time.time()
        seconds, microseconds = client.time()
        took = time.monotonic() - begin
        trips.append((took, seconds + microseconds / 1_000_000 - (here + took / 2)))
    latency, skew = min(trips)
    sure = max(0.0, abs(skew) - latency / 2)
    return (sure if skew > 0 else -sure), latency


def _failing(info: dict[str, Any]) -> str | None:
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        if info.get(name, "ok") != "ok":
            return f"{name}: {info[name]}"
    return None


class _Asked:
    """Asks what a user may not be allowed to ask, or a hosted server does not answer."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def of(self, name: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (NoPermissionError, ResponseError):
            self.refused.append(name)
            return None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
