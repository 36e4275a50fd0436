"""This room holds connections for threads: urllib3's, made to tell what was sent, to be watched, and to stay fresh."""

from __future__ import annotations

import http.client
import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from noukai_sdk._http.chunks import Dechunker
from noukai_sdk._http.lines import Line
from noukai_sdk._http.opening import open_socket
from noukai_sdk._interruption import Watch

# Servers and what stands before them close idle connections, some without a word; a request that meets that is lost.
KEEP_ALIVE_SECONDS = 30.0
_READ_BYTES = 64 * 1024


class _Present(threading.local):
    # Told of whatever this thread's request comes to wait for.
    watch: Watch | None = None


present = _Present()


class Raw(http.client.HTTPResponse):
    """The standard library's response, which reads a chunked body by what has arrived instead of chunk by chunk."""

    _dechunker: Dechunker | None = None

    def _read_status(self) -> tuple[str, int, str]:
        # The standard library takes 102 and 103 for the answer (RFC 9110 section 15.2).
        while True:
            line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 100 < line[1] < 200 or line[1] == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return line
            http.client.parse_headers(self.fp)

    def read1(self, n: int = -1) -> bytes:
        if not self.chunked or self.fp is None:
            return super().read1(n)
        if self._dechunker is None:
            self._dechunker = Dechunker()
        body = b""
        while not body and not self._dechunker.ended:
            data = self.fp.read1(n)
            if not data:
                raise http.client.IncompleteRead(b"")
            try:
                body = self._dechunker.feed(data)
            except ValueError as error:
                raise http.client.HTTPException(str(error)) from error
        if self._dechunker.ended:
            self.close()
        return body

    def pieces(self) -> Iterator[bytes]:
        """The body, undecoded, to its end. Raises OSError and http.client.HTTPException."""
        while piece := self.read1(_READ_BYTES):
            yield piece
        if self.length:
            raise http.client.IncompleteRead(b"", self.length)
        self.close()


class Connection(urllib3.connection.HTTPConnection):
    """A connection whose failures before a request is sent are httpx's, unlike those that may come after."""

    # urllib3's own response costs more to read than an event does.
    received: Raw
    idle_since = 0.0
    # The socket, for the call that has it now.
    line: Line | None = None
    _opening: Line | None = None

    def response_class(self, *args: Any, **kwargs: Any) -> Raw:  # type: ignore[override]
        self.received = Raw(*args, **kwargs)
        return self.received

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self.idle_since < KEEP_ALIVE_SECONDS and super().is_connected

    def connect(self) -> None:
        """Raises httpx.ConnectTimeout and httpx.ConnectError, also for what urllib3 names alike after sending."""
        try:
            super().connect()
        except (HTTPError, http.client.HTTPException, OSError) as error:
            where = "" if self.proxy is None else f"through the proxy {self.proxy.host}:{self.proxy.port}: "
            is_late = isinstance(error, ConnectTimeoutError | TimeoutError) and not isinstance(
                error, NewConnectionError
            )
            raise (httpx.ConnectTimeout if is_late else httpx.ConnectError)(where + text_of(error)) from error
        finally:
            if self._opening is not None:
                self._opening.let_go()
                self._opening = None

    def _new_conn(self) -> socket.socket:
        if present.watch is None:
            return super()._new_conn()
        opened, self._opening = open_socket(self._dns_host, self.port, self.timeout, self.socket_options, present.watch)
        return opened

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request. Raises httpx.ConnectError if it was ended before."""
        watch = present.watch
        if self.sock is None:
            self.connect()
        self.line = Line(self.sock)
        if watch is not None:
            watch(self.line)
            if watch.ended:
                raise httpx.ConnectError("given up before anything was sent")
        super().request(*args, **kwargs)


class TLSConnection(Connection, urllib3.connection.HTTPSConnection):
    """The same over TLS."""


class _Places(queue.LifoQueue[Any]):
    """Its lock may be taken twice: a dropped response gives its place back wherever the garbage collector comes along."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.mutex = threading.RLock()  # type: ignore[assignment]
        self.not_empty = threading.Condition(self.mutex)
        self.not_full = threading.Condition(self.mutex)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Raises queue.Empty, also when the wait was ended."""
        if present.watch is None or not block:
            return super().get(block, timeout)
        turn = _Turn(self)
        # Before the lock is taken, as an end that has come already takes it too.
        present.watch(turn)
        with self.not_empty:
            self.not_empty.wait_for(lambda: self._qsize() or turn.is_over, timeout)
            # A place that came in the same moment must be taken: nobody else was told of it.
            return super().get(block=False)


class _Turn:
    """Waits for a place."""

    is_over = False

    def __init__(self, places: _Places) -> None:
        self._places = places

    def end(self) -> None:
        self.is_over = True
        with self._places.not_empty:
            self._places.not_empty.notify_all()


class Pool(urllib3.HTTPConnectionPool):
    """Connections to one host."""

    ConnectionCls = Connection
    QueueCls = _Places

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.idle_since = time.monotonic()
            if conn.line is not None:
                # Before anybody else can have it, or what is left of it.
                conn.line.let_go()
        super()._put_conn(conn)


class TLSPool(Pool, urllib3.HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = TLSConnection


def text_of(error: Exception) -> str:
    """What `error` says, without the pool or connection that urllib3 puts in front, which says nothing to a user."""
    if error.args and isinstance(error.args[-1], Exception):
        return text_of(error.args[-1])
    return str(error).partition("): ")[2] or str(error) or type(error).__name__
