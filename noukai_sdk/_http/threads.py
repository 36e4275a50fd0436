"""This room sends from threads, through urllib3's connection pool."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import urllib3
from urllib3.exceptions import EmptyPoolError, HTTPError, LocationParseError, ReadTimeoutError

from noukai_sdk._http.connections import Connection, Pool, Raw, TLSPool, present, text_of
from noukai_sdk._http.lines import Line


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
        self._pools.pool_classes_by_scheme = {"http": Pool, "https": TLSPool}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request whose body is in memory. Raises httpx.TransportError.

        The extension "watch", a Watch, is told of all that is waited for until the answer's head has come; the socket that
        its body comes through is the response's "network_stream".
        """
        present.watch = request.extensions.get("watch")
        try:
            return self._send(request)
        finally:
            present.watch = None

    def _send(self, request: httpx.Request) -> httpx.Response:
        url, timeout = request.url, request.extensions.get("timeout", {})
        try:
            pool = self._pools.connection_from_host(url.host, url.port, url.scheme)
            response = pool.urlopen(
                request.method,
                url.raw_path.decode("ascii"),
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
            raise _after_connecting(error) from error
        body = _Body(response)
        # The standard library reads headers as Latin-1, whatever they are.
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
        return httpx.Response(response.status, headers=headers, stream=body, extensions=body.extensions)

    def close(self) -> None:
        """Close the idle connections; the others close when their responses are."""
        self._pools.clear()


class _Body(httpx.SyncByteStream):
    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self._raw: Raw | None = None
        self._line: Line | None = None
        # None if the answer has no body: then its connection is free already.
        if isinstance(connection := response.connection, Connection):
            self._raw, self._line = connection.received, connection.line

    @property
    def extensions(self) -> dict[str, Any]:
        return {} if self._line is None else {"network_stream": self._line}

    def __iter__(self) -> Iterator[bytes]:
        if self._raw is None:
            return
        try:
            yield from self._raw.pieces()
        except TimeoutError as error:
            raise httpx.ReadTimeout(text_of(error)) from error
        except (http.client.HTTPException, OSError) as error:
            raise httpx.ReadError(text_of(error)) from error
        self._response.release_conn()

    def close(self) -> None:
        # A response that was read to its end has given its connection back already.
        if self._response.connection is not None:
            self._response.close()
            self._response.release_conn()

    def __del__(self) -> None:
        # Whoever was interrupted before it could close this would cost the pool a place.
        self.close()


def _after_connecting(error: Exception) -> httpx.TransportError:
    """httpx's name for a failure before the response's head, though not one of `Connection.connect`."""
    text = text_of(error)
    match error:
        case EmptyPoolError():
            return httpx.PoolTimeout(text)
        case LocationParseError():
            return httpx.UnsupportedProtocol(text)
        case ReadTimeoutError():
            return httpx.ReadTimeout(text)
        case _ if any(isinstance(cause, TimeoutError) for cause in error.args):
            return httpx.WriteTimeout(text)
        case _:
            return httpx.RemoteProtocolError(text)
