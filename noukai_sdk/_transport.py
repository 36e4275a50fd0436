"""This room is a client's way to the server: it writes requests, reads replies, and tells the log."""

from __future__ import annotations

import functools
import logging
import os
import platform
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar

import httpx

from noukai_sdk._config import API_VERSION, Config
from noukai_sdk._errors import APITimeoutError, ClientClosedError
from noukai_sdk._http.senders import (
    AsyncBorrowed,
    AsyncSender,
    Borrowed,
    Sender,
    loops_sender,
    threads_sender,
)
from noukai_sdk._json import decode, encode
from noukai_sdk._protocol.effects import Reply, Send
from noukai_sdk._version import __version__

AnySender = TypeVar("AnySender", Sender, AsyncSender)

USER_AGENT = (
    f"noukai-python/{__version__} (httpx/{httpx.__version__}; python/{platform.python_version()}; {platform.system()})"
)
# What a `Send` cannot bring along: identity, framing, and what is set here (WIRE.md 1.3).
PROTECTED_HEADERS = frozenset(
    {"authorization", "x-noukai-api-version", "user-agent", "x-request-id", "content-type", "cookie", "x-session-id"}
    | {"accept", "accept-encoding", "connection", "content-length", "transfer-encoding", "host"}
)
_log = logging.getLogger("noukai_sdk")


class Connection(Generic[AnySender]):
    """A client's settings, and the sender that it opens with its first request, anew in a forked process."""

    def __init__(self, config: Config, open_sender: Callable[[], AnySender]) -> None:
        self.config = config
        self._open_sender: Callable[[], AnySender] = open_sender
        self._sender: AnySender | None = None
        self._opening = threading.Lock()
        self._process = os.getpid()
        self._inherited: AnySender | None = None
        self.closed = False
        self._headers = {
            "Authorization": f"Bearer {config.api_key}",
            "X-Noukai-API-Version": API_VERSION,
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Connection": "keep-alive",
        }

    @property
    def sender(self) -> AnySender:
        """What sends. Raises ClientClosedError."""
        if self._process != os.getpid():
            # The parent goes on using its sockets, so they are neither used here nor closed; its lock may be held for ever.
            self._inherited, self._sender = self._sender, None
            self._opening, self._process = threading.Lock(), os.getpid()
        sender = self._sender
        if sender is None and not self.closed:
            with self._opening:
                sender = self._sender = self._sender or self._open_sender()
        if self.closed or sender is None or sender.closed:
            raise ClientClosedError("the client is closed; make a new one, or close it later", sent=False)
        return sender

    def shut(self) -> AnySender | None:
        """Send nothing more; what has been opened is the caller's to close."""
        self.closed = True
        sender, self._sender = self._sender, None
        return sender

    def request(self, send: Send) -> httpx.Request:
        """The request for `send`. Raises ValueError for a body that is not JSON."""
        config = self.config
        headers = self._headers
        content = None
        if send.headers:
            brought = {name: value for name, value in send.headers if name.lower() not in PROTECTED_HEADERS}
            headers = {**headers, **brought}
        if send.session_id is not None:
            headers = {**headers, "X-Session-Id": send.session_id}
        if send.body is not None:
            headers = {**headers, "Content-Type": "application/json"}
            content = encode(send.body)
        timeout = config.timeout if send.timeout is None else send.timeout
        if timeout == 0:
            raise APITimeoutError("timeout=0 leaves no time for a request", sent=False)
        # Built by hand, so that a user's httpx client adds no header, cookie or base URL of its own.
        return httpx.Request(
            send.method,
            _url(config.base_url + send.path),
            headers=headers,
            content=content,
            extensions={"timeout": self._phases(timeout)},
        )

    def _phases(self, timeout: float) -> dict[str, float]:
        pool = self.config.pool_timeout
        return {"connect": timeout, "read": timeout, "write": timeout, "pool": timeout if pool is None else pool}

    def log_request(self, send: Send) -> None:
        event: dict[str, Any] = {"phase": "request", **_line(send)}
        if self.config.log_payloads and not send.stream:
            event["request_body"] = send.body
        self._log(event)

    def reply(self, send: Send, response: httpx.Response, body: bytes | None) -> Reply:
        """The reply in `response`, logged. `body` is None while a stream is open."""
        event: dict[str, Any] = {
            "phase": "response",
            **_line(send),
            "status_code": response.status_code,
            "request_id": response.headers.get("X-Request-ID"),
        }
        if self.config.log_payloads and not send.stream:
            event["response_body"] = _payload(body)
        self._log(event)
        return Reply(response.status_code, response.headers, body, time.time())

    def log_scope(self, phase: str, mode: str, session_id: str | None) -> None:
        self._log({"phase": phase, "mode": mode, "session_id": session_id})

    def _log(self, event: dict[str, Any]) -> None:
        if self.config.log_handler is None:
            return
        try:
            self.config.log_handler(event)
        except Exception:  # noqa: BLE001 -- a broken log must not cost a paid call
            _log.exception("the log_handler raised")


def sync_connection(config: Config, http_client: httpx.Client | None) -> Connection[Sender]:
    """The connection of a `Noukai`."""
    return Connection(config, lambda: threads_sender(config) if http_client is None else Borrowed(http_client))


def async_connection(config: Config, http_client: httpx.AsyncClient | None) -> Connection[AsyncSender]:
    """The connection of an `AsyncNoukai`."""
    return Connection(config, lambda: loops_sender(config) if http_client is None else AsyncBorrowed(http_client))


@functools.lru_cache(maxsize=256)
def _url(text: str) -> httpx.URL:
    # Parsing takes longer than everything else about a request; a client calls few flows.
    return httpx.URL(text)


def _line(send: Send) -> dict[str, Any]:
    # A log counts repeats: the first request is attempt 0 (WIRE.md 6.7).
    line: dict[str, Any] = {"method": send.method, "path": send.path, "attempt": send.attempt - 1}
    return {**line, "streaming": True} if send.stream else line


def _payload(body: bytes | None) -> Any:
    try:
        return decode(body or b"")
    except ValueError:
        return None


def chunks_of(response: httpx.Response) -> Iterator[bytes]:
    """The body as it comes. Not through httpx' decoders unless it is compressed: each layer costs per chunk."""
    if _is_plain(response) and isinstance(response.stream, httpx.SyncByteStream):
        return iter(response.stream)
    return response.iter_bytes()


def achunks_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The same for an async response."""
    if _is_plain(response) and isinstance(response.stream, httpx.AsyncByteStream):
        return aiter(response.stream)
    return response.aiter_bytes()


def _is_plain(response: httpx.Response) -> bool:
    return "content-encoding" not in response.headers
