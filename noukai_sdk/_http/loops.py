"""This room sends from event loops, through aiohttp's connection pool; each loop has a pool of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from yarl import URL

from noukai_sdk._errors import ClientClosedError

KEEP_ALIVE_SECONDS = 30.0
# As in the standard library. aiohttp's 8 KiB is less than some Content-Security-Policies take.
_LONGEST_LINE = 64 * 1024
# Up to here a body fits into the buffers of the loop, so that writing it cannot have to wait.
_ONE_PIECE_BYTES = 32 * 1024


class LoopTransport(httpx.AsyncBaseTransport):
    """An httpx transport for any event loop, one after another or several; `max_connections` at once in each."""

    def __init__(self, *, tls: ssl.SSLContext | None, max_connections: int | None, proxy: str | None) -> None:
        self._tls = tls
        self._max_connections = max_connections
        self._proxy = proxy
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request whose body is in memory. Raises httpx.TransportError."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for other in list(self._pools):
                if other.is_closed():
                    self._pools.pop(other, None)
            pool = self._pools[loop] = _Pool(self._tls, self._max_connections, self._proxy)
            await anext(pool.life)
        return await pool.send(request)

    async def aclose(self) -> None:
        """Close the running loop's connections; those of other loops go with their loops."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.life.aclose()


class _Pool:
    """The connections of one event loop."""

    def __init__(self, tls: ssl.SSLContext | None, max_connections: int | None, proxy: str | None) -> None:
        # Waiting for a free connection is ours, so that it has an error of its own.
        connector = aiohttp.TCPConnector(limit=0, ssl=tls or True, keepalive_timeout=KEEP_ALIVE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        self._slots = asyncio.Semaphore(sys.maxsize if max_connections is None else max_connections)
        self._proxy = {} if proxy is None else _proxy(proxy)
        self._discard = weakref.finalize(self, _discard, self._session, connector, os.getpid())
        self.life = self._live()

    async def _live(self) -> AsyncGenerator[None, None]:
        """A generator that is left waiting: an event loop closes those at its end, and so the pool of a client nobody closed."""
        try:
            yield
        finally:
            self._discard.detach()
            await self._session.close()

    async def send(self, request: httpx.Request) -> httpx.Response:
        timeout = request.extensions.get("timeout", {})
        slot = _Slot(self._slots)
        await slot.take(timeout.get("pool"))
        try:
            if self._session.closed:
                raise ClientClosedError("the client was closed while this call waited for a connection", sent=False)
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode("ascii"), value.decode("ascii")) for name, value in request.headers.raw],
                data=_payload(request.content, timeout.get("write")),
                allow_redirects=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(connect=timeout.get("connect"), sock_read=timeout.get("read")),
                **self._proxy,
            )
        except (aiohttp.ClientError, OSError) as error:
            slot.free()
            raise _before_the_head(error) from error
        except BaseException:
            slot.free()
            raise
        _stop_aiohttp_s_watch(response)
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response, slot, timeout.get("read")),
            extensions={"network_stream": _Stream(response)},
        )


class _Slot:
    """A place in the pool, given back once, at the latest when nobody holds it any more."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._loop = asyncio.get_running_loop()
        self._is_taken = False

    async def take(self, within: float | None) -> None:
        """Wait for a place, at most so many seconds. Raises httpx.PoolTimeout."""
        if not self._slots.locked():
            await self._slots.acquire()
        else:
            try:
                async with asyncio.timeout(within):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise httpx.PoolTimeout("all connections are in use") from error
        self._is_taken = True

    def free(self) -> None:
        if self._is_taken:
            self._is_taken = False
            self._slots.release()

    def __del__(self) -> None:
        if self._is_taken:
            # Any thread may collect the garbage. The loop may be gone, with those who waited.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._slots.release)


class _Stream:
    """What httpx calls a network stream: the connection of a response, until that is over."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    def get_extra_info(self, info: str) -> Any:
        connection = self._response.connection
        transport = None if connection is None else connection.transport
        return None if transport is None else transport.get_extra_info(info)


class _Body(httpx.AsyncByteStream):
    """A body as it arrives. Raises httpx.ReadTimeout after `silence` seconds of waiting for more, else httpx.ReadError."""

    def __init__(self, response: aiohttp.ClientResponse, slot: _Slot, silence: float | None) -> None:
        self._response = response
        self._slot = slot
        self._silence = silence

    async def __aiter__(self) -> AsyncIterator[bytes]:
        watch = _Watch(self._response, self._silence)
        try:
            while True:
                watch.waits_since = watch.now()
                chunk = await self._response.content.readany()
                watch.waits_since = None
                if not chunk:
                    return
                yield chunk
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # A RuntimeError is aiohttp's word for a connection that was closed under its reader, as aclose() of a client does.
            if watch.is_over:
                raise httpx.ReadTimeout(f"nothing came for {self._silence:g} s") from None
            if arrived := _arrived(self._response.content):
                yield arrived
            raise httpx.ReadError(str(error) or type(error).__name__) from error
        finally:
            # Also when the event loop ends under an iterator that nobody closed: it closes generators, not responses.
            watch.end()
            await self.aclose()

    async def aclose(self) -> None:
        # A response that was read to its end has given its connection back already.
        self._response.close()
        self._slot.free()


def _arrived(content: aiohttp.StreamReader) -> bytes:
    """What had come before the connection broke: aiohttp raises the error first, and would keep the bytes for itself."""
    content.set_exception(None)  # type: ignore[arg-type]
    return content.read_nowait()


class _Upload(aiohttp.Payload):
    """A body that is written piece by piece; each may take `silence` seconds, while aiohttp would wait for ever."""

    _autoclose = True

    def __init__(self, value: bytes, silence: float | None) -> None:
        super().__init__(value)
        self._size = len(value)
        self._silence = silence

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        text: bytes = self._value
        return text.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        try:
            for start in range(0, len(self._value), _ONE_PIECE_BYTES):
                async with asyncio.timeout(self._silence):
                    await writer.write(self._value[start : start + _ONE_PIECE_BYTES])
                    await writer.drain()
        except BaseException:
            if isinstance(writer, StreamWriter) and writer.transport is not None:
                # Closing would wait until the rest is written.
                writer.transport.abort()
            raise


def _payload(content: bytes, silence: float | None) -> bytes | _Upload | None:
    return _Upload(content, silence) if len(content) > _ONE_PIECE_BYTES else content or None


class _Watch:
    """Closes a response that keeps its reader waiting for `silence` seconds.

    In place of aiohttp's own limit, which sets a timer anew for each packet, and which a connection that breaks off in
    the middle of a chunk's head escapes for ever (seen with aiohttp 3.14.5).
    """

    def __init__(self, response: aiohttp.ClientResponse, silence: float | None) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.waits_since: float | None = None
        self.is_over = False
        self._loop = loop
        self._response = response
        self._silence = silence
        self._timer = None if silence is None else loop.call_later(silence, self._look)

    def _look(self) -> None:
        assert self._silence is not None
        waited = 0.0 if self.waits_since is None else self.now() - self.waits_since
        if waited < self._silence:
            self._timer = self._loop.call_later(self._silence - waited, self._look)
            return
        self.is_over = True
        self._response.close()  # which wakes the reader

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _stop_aiohttp_s_watch(response: aiohttp.ClientResponse) -> None:
    protocol = None if response.connection is None else response.connection.protocol
    if protocol is not None:
        protocol.read_timeout = None
        protocol.start_timeout()  # which takes the timer that runs away


def _before_the_head(error: Exception) -> httpx.TransportError:
    """httpx's name for a failure before the response's head; whether the request was sent depends on it."""
    text = str(error) or type(error).__name__
    match error:
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return httpx.ProxyError(text)
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(text)
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(text)
        case aiohttp.InvalidURL():
            return httpx.UnsupportedProtocol(text)
        case TimeoutError():
            return httpx.ReadTimeout(text)
        case _:
            return httpx.RemoteProtocolError(text)


def _proxy(url: str) -> dict[str, Any]:
    proxy = httpx.Proxy(url)
    if proxy.raw_auth is None:
        return {"proxy": str(proxy.url)}
    login = base64.b64encode(b":".join(proxy.raw_auth)).decode("ascii")
    return {"proxy": str(proxy.url), "proxy_headers": {"Proxy-Authorization": f"Basic {login}"}}


def _discard(session: aiohttp.ClientSession, connector: aiohttp.TCPConnector, process: int) -> None:
    """Close a pool whose loop was closed without a word to its generators, but not the one of a parent process."""
    if process != os.getpid():
        return
    session.detach()
    connector.__exit__(None, None, None)
