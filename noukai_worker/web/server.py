"""Serves the stand-alone application: one process, told to stop by a signal, gone within seconds."""

from __future__ import annotations

import ipaddress
import logging
import re
import signal
import socket
import threading

import uvicorn

from ..errors import InvalidRequest
from ..settings import Settings, current
from .app import create_app
from .source import Source
from .stream import STALLED_AFTER, Streaming

# Uvicorn's, so that these lines look like its own.
logger = logging.getLogger("uvicorn.error")

_GRACE = 5
_BACKLOG = 2048
_TOKEN = re.compile(r"(?<=[?&]token=)[^&\s]+")


def serve(host: str = "127.0.0.1", port: int = 8000, settings: Settings | None = None) -> None:
    """Serve until SIGINT or SIGTERM; open streams end at once, and their readers come back with a position.

    Raises InvalidRequest if the address cannot be listened on, or if reading is open to everybody and the address is not loopback.
    """
    settings = settings or current()
    if settings.web_open and not _is_loopback(host):
        raise InvalidRequest(
            f"anybody who reaches {host} could read every run: listen on 127.0.0.1, or unset NOUKAI_WORKER_WEB_OPEN"
        )
    listener = _listen(host, port)
    # Uvicorn raises the signal that stopped it once more; to stop when told to is a success.
    before = signal.signal(signal.SIGTERM, _leave) if threading.current_thread() is threading.main_thread() else None
    try:
        app = create_app(settings, open=settings.web_open)
        config = uvicorn.Config(Streaming(app), timeout_graceful_shutdown=_GRACE, server_header=False)
        logging.getLogger("uvicorn.access").addFilter(_without_tokens)
        _Server(config, app.state.source).run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()
        if before is not None:
            signal.signal(signal.SIGTERM, before)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, source: Source) -> None:
        super().__init__(config)
        self._source = source

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            logger.info("Listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Otherwise the server waits for streams to end, which they do when their runs do.
        self._source.stop()
        await super().shutdown(sockets)


def _leave(*_: object) -> None:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise InvalidRequest(f"cannot listen on {host}:{port} ({error}): give another address") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # A reader that takes nothing is given up by the kernel, which alone can drop what is already on its way to it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(STALLED_AFTER * 1000))
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidRequest(
            f"cannot listen on {host}:{port} ({error.strerror}): stop what listens there, or give another port"
        ) from None
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _without_tokens(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_TOKEN.sub("…", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True
