"""Running the flow server: blocking in the main thread, or beside a test in a thread of its own."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Unpack

import uvicorn

from .app import BASE_PATH, create_app
from .connection import FlowProtocol
from .errors import FlowServerError
from .options import Options

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
#: Open files that a thousand streams and their clients need; more than the usual soft limit.
_WANTED_FILES = 65_536


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A started server. ``url`` has no path, ``base_url`` ends in ``/api/v1``."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Where ``/_control`` lives."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What clients call their base URL."""
        return self.url + BASE_PATH


def serve(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    ready: Callable[[RunningServer], None] | None = None,
    **options: Unpack[Options],
) -> None:
    """Serve until SIGINT or SIGTERM, with `Options`.

    Port 0 takes a free one. Once requests are accepted, ``ready`` is called; by default it writes one line to standard
    output, the base URL. Raises `FlowServerError` if host and port cannot be had or an option makes no sense.
    """
    app = create_app(**options)
    _raise_file_limit()
    with _listening(host, port) as (sockets, server):
        _Uvicorn(app, server, ready or _say_base_url).run(sockets)


@contextlib.contextmanager
def running(*, host: str = DEFAULT_HOST, port: int = 0, **options: Unpack[Options]) -> Iterator[RunningServer]:
    """Serve from a background thread while the block runs, on a free port unless told, with `Options`.

    What is in flight at the end is cut. Raises `FlowServerError` as `serve` does.
    """
    app = create_app(**options)
    started = threading.Event()
    with _listening(host, port) as (sockets, server):
        uvicorn_server = _Uvicorn(app, server, lambda _: started.set())
        thread = threading.Thread(target=uvicorn_server.run, args=(sockets,), name="flow-server", daemon=True)
        thread.start()
        try:
            while not started.wait(0.05):
                if not thread.is_alive():
                    raise FlowServerError("the flow server's thread ended before it was ready; see its traceback above")
            yield server
        finally:
            uvicorn_server.should_exit = True
            thread.join()


class _Uvicorn(uvicorn.Server):
    """uvicorn, which tells when it is ready and leaves no stream and no job behind when it stops."""

    def __init__(self, app: object, server: RunningServer, ready: Callable[[RunningServer], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                http=FlowProtocol,
                ws="none",
                lifespan="on",
                interface="asgi3",
                # Only a bug of ours is worth a line, and that one we write ourselves (answers.on_crash).
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=0,
            )
        )
        self._address = server
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets)
        self._ready(self._address)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[tuple[list[socket.socket], RunningServer]]:
    bound = _loopback(port) if host == DEFAULT_HOST else [_bound(host, port)]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(sock) for sock in bound]
        yield sockets, RunningServer(host, sockets[0].getsockname()[1])


def _loopback(port: int) -> list[socket.socket]:
    """127.0.0.1 and ::1: 'localhost' is both, and whoever asks for it must not meet another server on one of them."""
    while True:
        first = _bound(DEFAULT_HOST, port)
        try:
            return [first, _bound("::1", first.getsockname()[1])]
        except FlowServerError as error:
            if getattr(error.__cause__, "errno", None) != errno.EADDRINUSE:
                return [first]  # no IPv6 here
            first.close()
            if port:
                raise


def _bound(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise FlowServerError(f"{port} is no port; choose 0 to 65535 with --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio sets TCP_NODELAY only if the protocol is spelt out; without it every answer waits 40 ms.
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as exc:
        raise _cannot_listen(host, port, exc) from exc
    return sock


def _cannot_listen(host: str, port: int, exc: OSError) -> FlowServerError:
    if exc.errno == errno.EADDRINUSE:
        return FlowServerError(f"port {port} on {host} is already in use; stop its owner or choose another with --port")
    if exc.errno == errno.EACCES:
        return FlowServerError(f"port {port} on {host} needs privileges; choose one above 1023 with --port")
    return FlowServerError(f"cannot listen on {host} port {port} ({exc}); choose another with --host and --port")


def _raise_file_limit() -> None:
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED_FILES if hard == resource.RLIM_INFINITY else min(_WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # Refused in some containers; the limit then stays what it was.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say_base_url(server: RunningServer) -> None:
    sys.stdout.write(server.base_url + "\n")
    sys.stdout.flush()
