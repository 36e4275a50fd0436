"""This room sends from threads, through urllib3's connection pool."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    EmptyPoolError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from noukai_sdk._http.chunks import Dechunker

_READ_BYTES = 64 * 1024


class ThreadTransport(httpx.BaseTransport):
    """An httpx transport for any number of threads. Connections are kept for reuse, at most `max_connections`."""

    def __init__(self, *, tls: ssl.SSLContext | None, max_connections: int | None, proxy: str | None) -> None:
        options: dict[str, Any] = {
            "maxsize": max_connections or 0,  # which is "any number" to the queue inside
            "block": max_connections is not None,
            "ssl_context": tls,
        }
        if proxy is None:
            self._pools = urllib3.PoolManager(**options)
        else:
            login = urllib3.util.parse_url(proxy).auth
            headers = urllib3.util.make_headers(proxy_basic_auth=unquote(login)) if login else None
            self._pools = urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
        self._pools.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request whose body is in memory. Raises httpx.TransportError."""
        url, timeout = request.url, request.extensions.get("timeout", {})
        try:
            pool = self._pools.connection_from_host(url.host, url.port, url.scheme)
            # Through a proxy, plain HTTP is asked for by the whole URL (RFC 9112 section 3.2.2).
            whole = self._pools.proxy is not None and url.scheme == "http"
            response = pool.urlopen(
                request.method,
                str(url) if whole else url.raw_path.decode("ascii"),
                body=request.content or None,
                headers={name.decode("ascii"): value.decode("ascii") for name, value in request.headers.raw},
                timeout=urllib3.Timeout(connect=timeout.get("connect"), read=timeout.get("read")),
                pool_timeout=timeout.get("pool"),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            raise _before_the_head(error) from error
        return httpx.Response(
            response.status,
            headers=list(response.headers.items()),
            stream=_Body(response),
            extensions={"network_stream": _Socket(response)},
        )

    def close(self) -> None:
        """Close the idle connections; the others close when their responses are."""
        self._pools.clear()


class _Raw(http.client.HTTPResponse):
    """The standard library's response, which reads a chunked body by what has arrived instead of chunk by chunk."""

    _dechunker: Dechunker | None = None

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


class _KnowsItsResponse:
    """A connection that can be asked for the response it has received: urllib3's own costs more to read than an event does."""

    received: _Raw

    def response_class(self, *args: Any, **kwargs: Any) -> _Raw:
        self.received = _Raw(*args, **kwargs)
        return self.received


class _HTTPConnection(_KnowsItsResponse, urllib3.connection.HTTPConnection):  # type: ignore[misc]
    pass


class _HTTPSConnection(_KnowsItsResponse, urllib3.connection.HTTPSConnection):  # type: ignore[misc]
    pass


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Body(httpx.SyncByteStream):
    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        connection: object = response.connection
        # None if the answer has no body: then its connection is free already.
        self._raw = connection.received if isinstance(connection, _KnowsItsResponse) else None

    def __iter__(self) -> Iterator[bytes]:
        if self._raw is None:
            return
        try:
            yield from self._raw.pieces()
        except TimeoutError as error:
            raise httpx.ReadTimeout(_text(error)) from error
        except (http.client.HTTPException, OSError) as error:
            raise httpx.ReadError(_text(error)) from error
        self._response.release_conn()

    def close(self) -> None:
        # A response that was read to its end has given its connection back already.
        if self._response.connection is not None:
            self._response.close()
            self._response.release_conn()


class _Socket:
    """What httpx calls a network stream, as far as a deadline needs it: a way to the socket."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def get_extra_info(self, info: str) -> object:
        connection = self._response.connection
        return getattr(connection, "sock", None) if info == "socket" else None


def _before_the_head(error: Exception) -> httpx.TransportError:
    """httpx's name for a failure before the response's head; whether the request was sent depends on it."""
    text = _text(error)
    match error:
        case EmptyPoolError():
            return httpx.PoolTimeout(text)
        case NewConnectionError() | SSLError():
            return httpx.ConnectError(text)
        case ConnectTimeoutError():
            return httpx.ConnectTimeout(text)
        case ReadTimeoutError():
            return httpx.ReadTimeout(text)
        case ProxyError():
            return httpx.ProxyError(text)
        case LocationParseError():
            return httpx.UnsupportedProtocol(text)
        case TimeoutError():
            return httpx.WriteTimeout(text)
        case _:
            return httpx.RemoteProtocolError(text)


def _text(error: Exception) -> str:
    # urllib3 puts its pool or connection in front, which says nothing to a user.
    return str(error).partition("): ")[2] or str(error) or type(error).__name__
