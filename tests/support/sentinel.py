"""A primary, a replica and a Sentinel that watches over them: real processes on free ports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis

from tests.support.processes import Process, RedisServer, free_port, server_binary, until

NAME = "runs"
_DOWN_AFTER = 500
"""Milliseconds without an answer after which the Sentinel replaces the primary."""


class Watched:
    """The three. `primary` and `replica` are as they began; after a failover they have changed their parts."""

    def __init__(self, folder: Path) -> None:
        self.primary = RedisServer(folder / "primary")
        self.replica = RedisServer(folder / "replica", options=("--replicaof", f"127.0.0.1 {self.primary.port}"))
        self.port = free_port()
        (folder / "sentinel").mkdir(parents=True)
        settings = folder / "sentinel" / "sentinel.conf"
        settings.write_text(
            f"sentinel monitor {NAME} 127.0.0.1 {self.primary.port} 1\n"
            f"sentinel down-after-milliseconds {NAME} {_DOWN_AFTER}\n"
            f"sentinel failover-timeout {NAME} 3000\n"
        )
        command = [server_binary(), str(settings), "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1"]
        self._sentinel = Process(command, folder / "sentinel" / "sentinel.log")

    @property
    def url(self) -> str:
        return f"redis-sentinel://127.0.0.1:{self.port}/0#{NAME}"

    def start(self) -> None:
        self.primary.start()
        self.replica.start()
        self._sentinel.start()
        until(self._knows_the_replica, "the Sentinel knows primary and replica")

    def stop(self) -> None:
        self._sentinel.stop()
        for server in (self.replica, self.primary):
            server.stop()

    def primary_port(self) -> int:
        """Where the Sentinel sends those who ask."""
        with contextlib.closing(redis.Redis(port=self.port)) as sentinel:
            return int(sentinel.sentinel_get_master_addr_by_name(NAME)[1])

    def _knows_the_replica(self) -> bool:
        with contextlib.closing(redis.Redis(port=self.port)) as sentinel, contextlib.suppress(redis.RedisError):
            replicas = sentinel.sentinel_slaves(NAME)
            return any(replica["master-link-status"] == "ok" for replica in replicas)
        return False


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    installation = Watched(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(installation.stop)
        installation.start()
        yield installation
