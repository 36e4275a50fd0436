"""This room holds what a client sends with: its own transport, or a user's httpx client that is never closed."""

from __future__ import annotations

import functools
import ssl
import urllib.request
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from noukai_sdk._config import Config, is_loopback


class Sender(Protocol):
    """Sends from threads."""

    @property
    def closed(self) -> bool: ...

    def send(self, request: httpx.Request) -> httpx.Response:
        """The response, of which the head has come. Raises httpx.TransportError."""

    def close(self) -> None: ...


class AsyncSender(Protocol):
    """Sends from event loops."""

    @property
    def closed(self) -> bool: ...

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The response, of which the head has come. Raises httpx.TransportError."""

    async def aclose(self) -> None: ...


class Owned:
    """Sends through a transport directly: httpx.Client would add cookies, redirects and hooks, which nobody wants here."""

    closed = False

    def __init__(self, transport: httpx.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: httpx.Request) -> httpx.Response:
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()


class AsyncOwned:
    """The same for event loops."""

    closed = False

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transport.aclose()


class Borrowed:
    """Sends with a user's client, as it is set up, but for what would change the request."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @property
    def closed(self) -> bool:
        return self._client.is_closed

    def send(self, request: httpx.Request) -> httpx.Response:
        return self._client.send(request, auth=None, follow_redirects=False, stream=True)

    def close(self) -> None:
        """It is not ours."""


class AsyncBorrowed:
    """The same for event loops."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    @property
    def closed(self) -> bool:
        return self._client.is_closed

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self._client.send(request, auth=None, follow_redirects=False, stream=True)

    async def aclose(self) -> None:
        """It is not ours."""


def threads_sender(config: Config) -> Sender:
    """The default for `Noukai`."""
    return Owned(thread_transport(config.base_url, config.max_connections))


def loops_sender(config: Config) -> AsyncSender:
    """The default for `AsyncNoukai`."""
    return AsyncOwned(loop_transport(config.base_url, config.max_connections))


def thread_transport(url: str, max_connections: int | None) -> httpx.BaseTransport:
    """Our own, to the host of `url`, for any number of threads."""
    # urllib3 and aiohttp are imported by those who use them only.
    from noukai_sdk._http.threads import ThreadTransport

    return ThreadTransport(tls=_tls(url), max_connections=max_connections, proxy=proxy_of(url))


def loop_transport(url: str, max_connections: int | None) -> httpx.AsyncBaseTransport:
    """Our own, to the host of `url`, for any number of event loops."""
    from noukai_sdk._http.loops import LoopTransport

    return LoopTransport(tls=_tls(url), max_connections=max_connections, proxy=proxy_of(url))


def _tls(url: str) -> ssl.SSLContext | None:
    return tls_context() if url.startswith("https:") else None


@functools.cache
def tls_context() -> ssl.SSLContext:
    """One per process: loading the certificates takes some 40 ms (WIRE.md 8.11)."""
    return httpx.create_ssl_context()


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for `url`; never one for this machine, which would see the key (8.21)."""
    parts = urlsplit(url)
    if is_loopback(parts.hostname) or urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in {"http", "https"}:
        raise ValueError(
            f"the environment's proxy must be http or https, not {urlsplit(proxy).scheme}; pass an http_client"
        )
    return proxy
