"""What a whole installation on one machine consists of: Redis, the flow server, both workers and the web application."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import celery
import httpx
import redis.asyncio
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from ..errors import InvalidRequest
from . import embedded
from .supervisor import Service

API_KEY = "nk_test_demo0000_00000000000000000000000000000000"
"""Opens the local flow server, and nothing else."""

_HOST = "127.0.0.1"
_ANSWER_WITHIN = 1.0
_REAL_SERVICE = frozenset({"NOUKAI_ENV", "NOUKAI_WORKER_CREDENTIALS", "NOUKAI_BROKER_URL", "NOUKAI_RESULT_BACKEND"})


class PortTaken(InvalidRequest):
    """Somebody else listens there. `args`: (port, the option that chooses another one)."""

    code = "port_taken"

    def __init__(self, port: int, option: str) -> None:
        super().__init__(port, option)
        self.port, self.option = port, option

    def __str__(self) -> str:
        return f"port {self.port} is taken: choose another one with {self.option}"


class FolderInUse(InvalidRequest):
    """Another supervisor keeps its Redis there. `args`: (the folder,)."""

    code = "folder_in_use"

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return f"{self.folder} is used by another noukai-worker dev: stop that one, or choose another folder with --dir"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the services listen, on loopback."""

    redis: int = 6390
    flow_server: int = 8080
    web: int = 8000

    @classmethod
    def free(cls) -> Self:
        """Three that nobody uses now."""
        sockets = [socket.create_server((_HOST, 0)) for _ in range(3)]
        ports = [taken.getsockname()[1] for taken in sockets]
        for taken in sockets:
            taken.close()
        return cls(*ports)

    def check(self) -> None:
        """Raises PortTaken, naming the option, and InvalidRequest for a number that is no port or is given twice."""
        seen: set[int] = set()
        for port, option in ((self.redis, "--redis-port"), (self.flow_server, "--flow-port"), (self.web, "--web-port")):
            if not 0 < port < 65_536 or port in seen:
                raise InvalidRequest(f"{option} {port}: give each service a port of its own, from 1 to 65535")
            seen.add(port)
            try:
                socket.create_server((_HOST, port)).close()
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise PortTaken(port, option) from None
                raise InvalidRequest(f"{option} {port}: {error.strerror}") from None

    @property
    def redis_url(self) -> str:
        """For NOUKAI_REDIS_URL."""
        return f"redis://{_HOST}:{self.redis}/0"

    @property
    def base_url(self) -> str:
        """For NOUKAI_BASE_URL."""
        return f"http://{_HOST}:{self.flow_server}/api/v1"

    @property
    def web_url(self) -> str:
        """Where the web application is."""
        return f"http://{_HOST}:{self.web}"


class Folder:
    """Where a supervisor keeps its Redis, for one supervisor at a time. A context manager; entering raises FolderInUse."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def __enter__(self) -> Path:
        import fcntl  # Unix only, as are the servers that are kept here

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / ".gitignore").write_text("*\n")
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise InvalidRequest(f"--dir {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise FolderInUse(str(self.path)) from None
        return self.path

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


def environment(ports: Ports) -> dict[str, str]:
    """The environment of the children: this process' own, but Redis, service and key are the local ones.

    Real keys and addresses are left out, so that nothing started here can reach the real service.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _REAL_SERVICE}
    return kept | {
        "NOUKAI_REDIS_URL": ports.redis_url,
        "NOUKAI_BASE_URL": ports.base_url,
        "NOUKAI_API_KEY": API_KEY,
        "PYTHONUNBUFFERED": "1",
    }


def services(folder: Path, ports: Ports, *, flows: Path | None = None) -> list[list[Service]]:
    """Everything, in waves, as AsyncSupervisor takes it. Raises ServerMissing."""
    env = environment(ports)
    server = embedded.find_server()
    own_flows = ("--flows", str(flows)) if flows else ()
    return [
        [
            Service("redis", embedded.command(server, folder, ports.redis), env, lambda: _pong(ports.redis_url)),
            _ours("flows", env, ports.base_url, "flow-server", "--port", str(ports.flow_server), *own_flows),
        ],
        [
            _worker("worker", env, ports),
            _worker("stream", env, ports),
            _ours("web", env, f"{ports.web_url}/readyz", "web", "--port", str(ports.web), "--open"),
        ],
    ]


def _ours(name: str, env: Mapping[str, str], url: str, *arguments: str) -> Service:
    return Service(name, _command(*arguments), env, lambda: _answers(url))


def _worker(kind: str, env: Mapping[str, str], ports: Ports) -> Service:
    node = f"{kind}@noukai-dev-{ports.redis}"
    return Service(kind, _command(kind, "--name", node), env, lambda: _consumes(ports.redis_url, node))


def _command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "noukai_worker", *arguments)


async def _pong(url: str) -> bool:
    client = redis.asyncio.Redis.from_url(url, socket_timeout=_ANSWER_WITHIN, socket_connect_timeout=_ANSWER_WITHIN)
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=_ANSWER_WITHIN, trust_env=False) as client:
            return (await client.get(url)).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.TransportError:
        return False


async def _consumes(broker: str, node: str) -> bool:
    def ping() -> bool:
        with celery.Celery("noukai-ping", broker=broker, set_as_current=False) as app:
            try:
                return bool(app.control.ping(destination=[node], timeout=_ANSWER_WITHIN, limit=1))
            except (OperationalError, OSError):
                return False

    return await asyncio.to_thread(ping)
