"""A real cluster: three primaries with a replica each, or fewer, on free ports of loopback."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import redis
from redis.cluster import ClusterNode

from noukai_worker.redis_url import Kind, RedisUrl
from noukai_worker.runs import keys
from tests.support.processes import RedisServer, free_port, until

CLUSTER = os.environ.get("NOUKAI_TEST_SERVER") == "cluster"
"""Whether the tests of the laws keep runs on a cluster, and Celery's messages beside it."""

SLOTS = 16_384
_TIMEOUT = 1_000
"""Milliseconds of silence after which the others give a node up."""


class Node(RedisServer):
    """One server of a cluster. `bus` is the port on which the nodes speak to each other."""

    def __init__(self, folder: Path) -> None:
        self.bus = free_port()
        cluster = (
            f"--cluster-node-timeout {_TIMEOUT}",
            f"--cluster-port {self.bus}",
            "--cluster-config-file nodes.conf",
        )
        super().__init__(folder, options=("--cluster-enabled yes", *cluster, "--repl-diskless-sync-delay 0"))


class Cluster:
    """`primaries[n]` begins with the nth third of the slots; `replicas[n]` is its replica, for n < `replicated`."""

    def __init__(self, folder: Path, *, replicated: int = 0) -> None:
        self.primaries = [Node(folder / f"primary-{n}") for n in range(3)]
        self.replicas = [Node(folder / f"replica-{n}") for n in range(replicated)]

    @property
    def nodes(self) -> Sequence[Node]:
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        return "redis-cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.primaries)

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        for node in others:
            ask(first, "CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        for n, node in enumerate(self.primaries):
            ask(node, "CLUSTER", "ADDSLOTSRANGE", n * SLOTS // 3, (n + 1) * SLOTS // 3 - 1)
        until(lambda: all(_knows(node, len(self.nodes)) for node in self.nodes), "all nodes know each other")
        for primary, replica in zip(self.primaries, self.replicas, strict=False):
            ask(replica, "CLUSTER", "REPLICATE", node_id(primary))
        until(lambda: all(_ok(node) for node in self.nodes), "the cluster is whole")
        until(lambda: all(_synced(node) for node in self.replicas), "replicas are in step")

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.stop()

    def primary_of(self, run_id: str) -> Node:
        """The node that serves a run now."""
        return self.primary_of_key(keys.run(run_id))

    def primary_of_key(self, key: str) -> Node:
        slot = int(ask(self.alive[0], "CLUSTER", "KEYSLOT", key))
        for first, last, (_, port, *_), *_ in ask(self.alive[0], "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    @property
    def alive(self) -> list[Node]:
        return [node for node in self.nodes if node.alive]

    def flush(self) -> None:
        for node in self.primaries:
            ask(node, "FLUSHALL")

    def move(self, run_id: str, target: Node) -> None:
        """Move a run's slot, key by key, as redis-cli does."""
        source = self.primary_of(run_id)
        slot = ask(source, "CLUSTER", "KEYSLOT", keys.run(run_id))
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))
        while moving := ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            ask(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *moving)
        for node in (target, source, *(node for node in self.primaries if node not in (target, source))):
            ask(node, "CLUSTER", "SETSLOT", slot, "NODE", node_id(target))


class AsOneServer:
    """A client that shows a cluster as if what all runs share were in one place, for tests that look there."""

    def __init__(self, url: str) -> None:
        nodes = RedisUrl.parse(url).nodes
        self._client = redis.RedisCluster(startup_nodes=[ClusterNode(host, port) for host, port in nodes], protocol=2)

    def close(self) -> None:
        self._client.close()
        for node in self._client.get_nodes():
            node.redis_connection.connection_pool.disconnect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def zadd(self, key: str, members: dict[str, float]) -> None:
        for member, score in members.items():
            self._client.zadd(_part(key, member), {member: score})

    def zscore(self, key: str, member: str) -> float | None:
        return self._client.zscore(_part(key, member), member)

    def zincrby(self, key: str, amount: float, member: str) -> float:
        return float(self._client.zincrby(_part(key, member), amount, member))

    def zcard(self, key: str) -> int:
        return sum(self._client.zcard(part) for part in _parts(key))

    def hset(self, key: str, *pair: Any, **mapping: Any) -> None:
        for part in _parts(key) if keys.shared(key) else [key]:
            self._client.hset(part, *pair, **mapping)

    def pttl(self, key: str | bytes) -> int:
        if isinstance(key, bytes) or not keys.shared(key):
            return int(self._client.pttl(key))
        return min(ttl for part in _parts(key) if (ttl := int(self._client.pttl(part))) != -2)

    @contextlib.contextmanager
    def pubsub(self, **options: Any) -> Iterator[Any]:
        with contextlib.closing(self._client.pubsub(**options)) as channel:
            channel.subscribe = channel.ssubscribe
            channel.get_message = functools.partial(channel.get_sharded_message, ignore_subscribe_messages=True)
            channel.listen = lambda: filter(None, iter(lambda: channel.get_message(timeout=0.1), channel))
            yield channel

    def delete(self, *names: str) -> int:
        return sum(int(self._client.delete(name)) for name in names)


def _part(key: str, member: str) -> str:
    return keys.sharded(key, keys.shard(member)) if keys.shared(key) else key


def _parts(key: str) -> list[str]:
    return [keys.sharded(key, n) for n in range(keys.SHARDS)]


@contextlib.contextmanager
def clustered(folder: Path, *, replicated: int = 0) -> Iterator[Cluster]:
    cluster = Cluster(folder, replicated=replicated)
    with contextlib.ExitStack() as stack:
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster


def client_of(url: str) -> Any:
    """A client for what a URL names, one server or a cluster."""
    return AsOneServer(url) if RedisUrl.parse(url).kind is Kind.CLUSTER else redis.Redis.from_url(url)


def ask(node: Node, *words: Any) -> Any:
    """What one node answers to one command."""
    with contextlib.closing(redis.Redis(port=node.port, protocol=2)) as client:
        return client.execute_command(*words)


def node_id(node: Node) -> str:
    return str(ask(node, "CLUSTER", "MYID").decode())


def _info(node: Node) -> dict[str, str]:
    lines = ask(node, "CLUSTER", "INFO").decode().splitlines()
    return dict(line.partition(":")[::2] for line in lines)


def _knows(node: Node, count: int) -> bool:
    return _info(node)["cluster_known_nodes"] == str(count)


def _ok(node: Node) -> bool:
    info = _info(node)
    return (info["cluster_state"], info["cluster_slots_ok"]) == ("ok", str(SLOTS))


def _synced(node: Node) -> bool:
    return bool(ask(node, "INFO", "replication").get("master_link_status") == "up")
