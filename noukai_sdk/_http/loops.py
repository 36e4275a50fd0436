"""This room sends from event loops, through aiohttp's connection pool; each loop has a pool of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

KEEP_ALIVE_SECONDS = 30.0


class LoopTransport(httpx.AsyncBaseTransport):
    """An httpx transport for any event loop, one after another or several; `max_connections` at once in each."""

    def __init__(self, *, tls: ssl.SSLContext | None, max_connections: int | None, proxy: str | None) -> None:
        self._tls = tls
        self._max_connections = max_connections
        self._proxy = proxy
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = weakref.WeakKeyDictionary()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Raises httpx.TransportError, and aiohttp's own where httpx-aiohttp lets it through."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
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
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self._transport = AiohttpTransport(verify=tls or False, client=session, proxy=_proxy(proxy) if proxy else None)
        self._slots = asyncio.Semaphore(sys.maxsize if max_connections is None else max_connections)
        self._discard = weakref.finalize(self, _discard, session, connector)
        self.life = self._live()

    async def _live(self) -> AsyncGenerator[None, None]:
        """A generator that is left waiting: an event loop closes those at its end, and so the pool of a client nobody closed."""
        try:
            yield
        finally:
            self._discard.detach()
            await self._transport.aclose()

    async def send(self, request: httpx.Request) -> httpx.Response:
        slots = self._slots
        if slots.locked():
            try:
                async with asyncio.timeout(request.extensions.get("timeout", {}).get("pool")):
                    await slots.acquire()
            except TimeoutError as error:
                raise httpx.PoolTimeout("all connections are in use") from error
        else:
            await slots.acquire()
        slot = _Slot(slots)
        try:
            response: httpx.Response = await self._transport.handle_async_request(request)
        except BaseException:
            slot.free()
            raise
        response.stream = _Body(response.stream, slot)
        return response


class _Slot:
    """One of the pool's places, given back once, at the latest when nobody holds it any more."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots: asyncio.Semaphore | None = slots

    def free(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()

    def __del__(self) -> None:
        # The loop may be gone, with those who waited.
        with contextlib.suppress(RuntimeError):
            self.free()


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream | httpx.AsyncByteStream, slot: _Slot) -> None:
        assert isinstance(stream, httpx.AsyncByteStream)
        self._stream = stream
        self._slot = slot

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except BaseException:
            # Also when the event loop ends under an iterator that nobody closed: it closes generators, not responses.
            await self.aclose()
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._slot.free()


def _discard(session: aiohttp.ClientSession, connector: aiohttp.TCPConnector) -> None:
    """The same for a loop that was closed without a word to its generators."""
    session.detach()
    connector.__exit__(None, None, None)


def _proxy(url: str) -> httpx.Proxy:
    # A login goes as a header: httpx-aiohttp would hand it on in a way that aiohttp has deprecated.
    proxy = httpx.Proxy(url)
    if proxy.raw_auth is None:
        return proxy
    login = base64.b64encode(b":".join(proxy.raw_auth)).decode("ascii")
    return httpx.Proxy(proxy.url, headers={"Proxy-Authorization": f"Basic {login}"})
