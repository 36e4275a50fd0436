"""Performs operations on Redis: one at a time, blocking, or many together, awaiting; on one server or on a cluster.

The time limits here are for a server that does not answer. Redis being away is an error for whoever asks (StoreUnavailable);
workers wait for it to come back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.exceptions import DataError, RedisError, ResponseError

from ..errors import NoukaiWorkerError, StoreUnavailable
from ..redis_url import Kind, RedisUrl
from . import connections, mirror
from .cluster import FAILURES, AsyncCluster, Cluster
from .connections import Node
from .operations import Operation
from .trips import ThreadTrips, Trips

T = TypeVar("T")

_ANSWER_WITHIN = 10.0
_CONNECTIONS = 16


class RunStore:
    """Runs in Redis, for threads. Give it a URL, or a client of your own (bytes, not decoded) of a single server."""

    def __init__(self, url: str, *, answer_within: float = _ANSWER_WITHIN, client: redis.Redis | None = None) -> None:
        parsed = RedisUrl.parse(url)
        self.address = parsed.shown
        self._cluster: Cluster | None = None
        if parsed.kind is Kind.CLUSTER:
            self._cluster = Cluster(parsed, answer_within)
        else:
            limits: dict[str, Any] = {
                "max_connections": _CONNECTIONS,
                "timeout": answer_within,
                "socket_timeout": answer_within,
            }
            pool = client.connection_pool if client else connections.pool(parsed, **limits)
            self._server = ThreadTrips(pool, _CONNECTIONS, answer_within)

    def perform(self, operation: Operation[T]) -> T:
        """Carry out one operation. Raises StoreUnavailable, and what the operation raises."""
        if self._cluster:
            answer = _carried_out(operation, self._cluster)
        else:
            (answer,) = self._server.make((mirror.only(operation),))
        if isinstance(answer, Exception):
            if _is_bug(answer):
                raise answer
            raise unavailable(self.address, answer) from answer
        return operation.decode(answer)

    def perform_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Carry out many operations in one trip, or one by one on a cluster; what `perform` would raise is returned, each in its
        place. A StoreUnavailable says that it is not known whether that one was carried out. In their order, unless Redis has
        forgotten a script: what needs it is then carried out behind the others.
        """
        if self._cluster:
            answers = [_carried_out(operation, self._cluster) for operation in operations]
        else:
            answers = self._server.make(list(map(mirror.only, operations)))
        return [_told(self.address, operation, answer) for operation, answer in zip(operations, answers, strict=True)]

    @property
    def clustered(self) -> bool:
        """Whether one run may be out of reach while others are not."""
        return self._cluster is not None

    def node(self, key: str) -> Node | None:
        """The node of a cluster that has a key or a sharded channel; None for a single server. Raises StoreUnavailable."""
        try:
            return self._cluster.node(key) if self._cluster else None
        except FAILURES as error:
            raise unavailable(self.address, error) from error

    def misplaced(self) -> None:
        """A node that `node` named turned out to be the wrong one. Raises StoreUnavailable."""
        try:
            if self._cluster:
                self._cluster.misplaced()
        except FAILURES as error:
            raise unavailable(self.address, error) from error

    def ping(self) -> None:
        """Raises StoreUnavailable if Redis does not answer."""
        try:
            (self._cluster or self._server).ping()
        except FAILURES as error:
            raise unavailable(self.address, error) from error

    def close(self) -> None:
        """Close the connections."""
        (self._cluster or self._server).close()


class AsyncRunStore:
    """Runs in Redis, for one event loop."""

    def __init__(
        self, url: str, *, answer_within: float = _ANSWER_WITHIN, client: redis.asyncio.Redis | None = None
    ) -> None:
        parsed = RedisUrl.parse(url)
        self.address = parsed.shown
        self._cluster: AsyncCluster | None = None
        if parsed.kind is Kind.CLUSTER:
            self._cluster = AsyncCluster(parsed, answer_within)
        else:
            limits: dict[str, Any] = {"max_connections": _CONNECTIONS, "socket_timeout": None}  # a trip has one
            pool = client.connection_pool if client else connections.async_pool(parsed, **limits)
            self._server = Trips(pool, _CONNECTIONS, answer_within)

    async def perform(self, operation: Operation[T]) -> T:
        """Carry out one operation. Raises StoreUnavailable, and what the operation raises."""
        (answer,) = await self.perform_all((operation,))
        if isinstance(answer, RedisError):
            raise answer
        return operation.decode(answer)

    async def perform_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Carry out many operations in one trip, or one to each node of a cluster at a time.

        Answers are as Redis gives them, scripts' errors among them; a StoreUnavailable stands for each that has none. Raises
        StoreUnavailable if nothing was answered; then some may have been carried out.
        """
        try:
            if self._cluster:
                answers = await _all_carried_out(operations, self._cluster)
            else:
                answers = await self._server.make(list(map(mirror.only, operations)))
        except FAILURES as error:
            raise unavailable(self.address, error) from error
        for n, answer in enumerate(answers):
            if isinstance(answer, Exception) and not _is_bug(answer):
                answers[n] = unavailable(self.address, answer)
        if answers and all(isinstance(answer, StoreUnavailable) for answer in answers):
            raise answers[0]
        return answers

    async def node(self, key: str) -> Node | None:
        """The node of a cluster that has a key or a sharded channel; None for a single server. Raises StoreUnavailable."""
        try:
            return await self._cluster.node(key) if self._cluster else None
        except FAILURES as error:
            raise unavailable(self.address, error) from error

    def misplaced(self) -> None:
        """A node that `node` named turned out to be the wrong one."""
        if self._cluster:
            self._cluster.misplaced()

    async def aclose(self) -> None:
        """Close the connections."""
        await (self._cluster or self._server).aclose()


def _told(address: str, operation: Operation[Any], answer: Any) -> Any:
    if isinstance(answer, Exception):
        if _is_bug(answer):
            raise answer
        return unavailable(address, answer)
    try:
        return operation.decode(answer)
    except NoukaiWorkerError as error:
        return error


def _carried_out(operation: Operation[Any], cluster: Cluster) -> Any:
    steps = mirror.steps(operation)
    calls = next(steps)
    while True:
        try:
            calls = steps.send(cluster.make(calls))
        except StopIteration as end:
            return end.value


async def _all_carried_out(operations: Sequence[Operation[Any]], cluster: AsyncCluster) -> list[Any]:
    """In step: what all of them want next goes in one trip to each node."""
    plans = list(map(mirror.steps, operations))
    answers: list[Any] = [None] * len(plans)
    asked = {n: next(plan) for n, plan in enumerate(plans)}
    while asked:
        told = iter(await cluster.make([call for calls in asked.values() for call in calls]))
        going, asked = asked, {}
        for n, calls in going.items():
            try:
                asked[n] = plans[n].send([next(told) for _ in calls])
            except StopIteration as end:
                answers[n] = end.value
    return answers


@cache
def shared(url: str, answer_within: float = _ANSWER_WITHIN) -> RunStore:
    """The one store of this process for a URL and a time to wait (seconds). A forked child gets its own."""
    return RunStore(url, answer_within=answer_within)


os.register_at_fork(after_in_child=shared.cache_clear)


_NO_SERVICE = (
    "OOM",
    "READONLY",
    "MISCONF",
    "NOREPLICAS",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "UNKILLABLE",
    "ACL failure",
)


def _is_bug(error: Exception) -> bool:
    """Whether the operation itself is at fault, rather than Redis its service: then trying again does not help."""
    # redis-py has classes for most refusals of service, and strips the "ERR" of a script's own error.
    return isinstance(error, DataError) or (type(error) is ResponseError and not str(error).startswith(_NO_SERVICE))


def unavailable(shown: str, error: Exception) -> StoreUnavailable:
    """The error of a Redis that does not serve us, as one line."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return StoreUnavailable(shown, reason.rstrip("."))
