"""Where in a cluster calls go: to the node that has their slot, for threads and for an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ..redis_url import RedisUrl
from . import connections
from .connections import Node
from .mirror import Call
from .trips import Trips

FAILURES = (RedisError, RedisClusterException, OSError)
"""What redis-py raises when a cluster does not serve us."""

_CONNECTIONS = 16
_REDIRECTIONS = 5
_REST = 1.0
_ELSEWHERE = (MovedError, ClusterDownError, ReadOnlyError)


class Cluster:
    """For threads: redis-py's cluster client. Nothing is opened before the first call."""

    def __init__(self, url: RedisUrl, answer_within: float) -> None:
        self._url, self._answer_within = url, answer_within
        self._client: redis.RedisCluster | None = None
        self._lock = threading.Lock()
        self._away: dict[Node, float] = {}

    def make(self, calls: Iterable[Call]) -> list[Any]:
        """Make the calls one by one; an answer that did not come is the error instead."""
        return [self._make(call) for call in calls]

    def node(self, key: str) -> Node:
        """Where a key or a sharded channel is. Raises FAILURES."""
        node = self._open().nodes_manager.get_node_from_slot(key_slot(key.encode()))
        return str(node.host), int(node.port)

    def misplaced(self) -> None:
        """A node that `node` named turned out to be the wrong one. Raises FAILURES."""
        self._open().nodes_manager.initialize()

    def ping(self) -> None:
        """Raises FAILURES if no node answers."""
        self.misplaced()

    def close(self) -> None:
        """Close the connections."""
        client: Any = self._client
        if client is not None:
            client.close()
            for node in client.get_nodes():  # redis-py leaves their pools open
                if node.redis_connection is not None:
                    node.redis_connection.connection_pool.disconnect()

    def _make(self, call: Call) -> Any:
        words = (len(call.keys), *call.keys, *call.args)
        node: Node | None = None
        try:
            client: Any = self._open()
            node = self.node(call.keys[0])
            if time.monotonic() < self._away.get(node, 0.0):
                return RedisConnectionError(f"{node[0]}:{node[1]} did not answer a moment ago")
            try:
                return client.evalsha(call.script.sha, *words)
            except NoScriptError:
                return client.eval(call.script.text, *words)
        except FAILURES as error:
            if node and isinstance(error, RedisConnectionError | RedisTimeoutError):
                # Who has a list of runs to look after does not wait for it again and again: the others have leases, too.
                self._away[node] = time.monotonic() + _REST
            return error

    def _open(self) -> redis.RedisCluster:
        with self._lock:
            if self._client is None:
                made: Any = redis.cluster.ClusterNode
                nodes = [made(host, port) for host, port in self._url.nodes[1:]]
                self._client = redis.RedisCluster.from_url(
                    self._url.server(*self._url.nodes[0]),
                    startup_nodes=nodes,
                    require_full_coverage=False,
                    socket_timeout=self._answer_within,
                    socket_connect_timeout=connections.CONNECT_WITHIN,
                    retry=Retry(NoBackoff(), 1),
                )
            return self._client


class AsyncCluster:
    """For an event loop: redis-py's picture of the cluster, and trips of our own to each of its nodes, all at once."""

    def __init__(self, url: RedisUrl, answer_within: float) -> None:
        self._url, self._answer_within = url, answer_within
        self._client: redis.asyncio.RedisCluster | None = None
        self._trips: dict[Node, Trips] = {}
        self._stale = True
        self._looking = asyncio.Lock()

    async def make(self, calls: Sequence[Call]) -> list[Any]:
        """Make all calls; an answer that did not come is the error instead."""
        answers: list[Any] = [None] * len(calls)
        left: Sequence[int] = range(len(calls))
        for _ in range(_REDIRECTIONS):
            try:
                await self._travel(calls, left, answers)
            except FAILURES as error:  # nobody tells where the slots are
                for n in left:
                    answers[n] = error
            left = [n for n in left if isinstance(answers[n], MovedError)]
            if not left:
                break
        return answers

    async def node(self, key: str) -> Node:
        """Where a key or a sharded channel is. Raises FAILURES."""
        nodes = await self._nodes()
        node = nodes.get_node_from_slot(key_slot(key.encode()))
        return str(node.host), int(node.port)

    def misplaced(self) -> None:
        """A node that `node` named turned out to be the wrong one: look again before the next call."""
        self._stale = True

    async def aclose(self) -> None:
        """Close the connections."""
        trips, self._trips = list(self._trips.values()), {}
        for each in trips:
            await each.aclose()
        client, self._client, self._stale = self._client, None, True
        if client is not None:
            await client.nodes_manager.aclose()
            await client.nodes_manager.aclose("startup_nodes")

    async def _travel(self, calls: Sequence[Call], left: Iterable[int], answers: list[Any]) -> None:
        nodes = await self._nodes()
        parties: dict[Node, list[int]] = {}
        for n in left:
            try:
                node = nodes.get_node_from_slot(key_slot(calls[n].keys[0].encode()))
            except FAILURES as error:  # nobody has this slot
                answers[n] = error
                self._stale = True
            else:
                parties.setdefault((str(node.host), int(node.port)), []).append(n)
        await asyncio.gather(*(self._visit(node, calls, party, answers) for node, party in parties.items()))

    async def _visit(self, node: Node, calls: Sequence[Call], party: list[int], answers: list[Any]) -> None:
        if node not in self._trips:
            pool = connections.async_pool(self._url, node, max_connections=_CONNECTIONS, socket_timeout=None)
            self._trips[node] = Trips(pool, _CONNECTIONS, self._answer_within)
        try:
            told = await self._trips[node].make([calls[n] for n in party])
        except FAILURES as error:
            told = [error] * len(party)
            self._stale = True
        for n, answer in zip(party, told, strict=True):
            answers[n] = answer
            if isinstance(answer, _ELSEWHERE):
                self._stale = True

    async def _nodes(self) -> Any:
        async with self._looking:
            if self._client is None:
                nodes = [redis.asyncio.cluster.ClusterNode(host, port) for host, port in self._url.nodes[1:]]
                self._client = redis.asyncio.RedisCluster.from_url(
                    self._url.server(*self._url.nodes[0]),
                    startup_nodes=nodes,
                    require_full_coverage=False,
                    socket_timeout=self._answer_within,
                    socket_connect_timeout=connections.CONNECT_WITHIN,
                    retry=AsyncRetry(NoBackoff(), 0),
                )
            if self._stale:
                await self._client.nodes_manager.initialize()
                self._stale = False
            return self._client.nodes_manager
