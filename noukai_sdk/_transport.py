"""This room speaks httpx: it builds requests, reads replies, and gives httpx' failures our types."""

from __future__ import annotations

import functools
import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from noukai_sdk._config import API_VERSION, USER_AGENT, Config
from noukai_sdk._errors import (
    APIConnectionError,
    APITimeoutError,
    ClientClosedError,
    NoukaiError,
    PoolTimeoutError,
    StreamInterruptedError,
    StreamTimeoutError,
)
from noukai_sdk._json import decode, encode
from noukai_sdk._protocol.effects import Reply, Send

HttpClient = TypeVar("HttpClient", httpx.Client, httpx.AsyncClient)

# Streams hold a connection each, for minutes: room for many, and a wait for a free one is the exception (WIRE.md 8.12).
LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=30.0)
# What a `Send` cannot bring along: identity, framing, and what is set here (WIRE.md 1.3).
PROTECTED_HEADERS = frozenset(
    {"authorization", "x-noukai-api-version", "user-agent", "x-request-id", "content-type", "cookie", "x-session-id"}
    | {"accept", "accept-encoding", "connection", "content-length", "transfer-encoding", "host"}
)
_log = logging.getLogger("noukai_sdk")


@functools.cache
def tls_context() -> ssl.SSLContext:
    """One per process: loading the certificates takes some 40 ms (WIRE.md 8.11)."""
    return httpx.create_ssl_context()


@dataclass(slots=True)
class Connection(Generic[HttpClient]):
    """A client's settings and the httpx client it sends with."""

    config: Config
    http: HttpClient
    is_own: bool
    closed: bool = False

    def request(self, send: Send) -> httpx.Request:
        """The request for `send`. Raises ClientClosedError, and ValueError for a body that is not JSON."""
        if self.closed or self.http.is_closed:
            raise ClientClosedError("the client is closed; make a new one, or close it later", sent=False)
        config = self.config
        headers = {
            "Authorization": f"Bearer {config.api_key}",
            "X-Noukai-API-Version": API_VERSION,
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": self.http.headers.get("Accept-Encoding", "identity"),
            "Connection": "keep-alive",
        }
        if send.session_id is not None:
            headers["X-Session-Id"] = send.session_id
        headers |= {name: value for name, value in send.headers if name.lower() not in PROTECTED_HEADERS}
        content = None
        if send.body is not None:
            headers["Content-Type"] = "application/json"
            content = encode(send.body)
        timeout = config.timeout if send.timeout is None else send.timeout
        if timeout == 0:
            raise APITimeoutError("timeout=0 leaves no time for a request", sent=False)
        # Built by hand, so that an injected client adds no header, cookie or base URL of its own.
        return httpx.Request(
            send.method,
            config.base_url + send.path,
            headers=headers,
            content=content,
            extensions={"timeout": httpx.Timeout(timeout).as_dict()},
        )

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

    def _log(self, event: dict[str, Any]) -> None:
        if self.config.log_handler is None:
            return
        try:
            self.config.log_handler(event)
        except Exception:  # noqa: BLE001 -- a broken log must not cost a paid call
            _log.exception("the log_handler raised")


def _line(send: Send) -> dict[str, Any]:
    line: dict[str, Any] = {"method": send.method, "path": send.path, "attempt": send.attempt}
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


def is_failure(error: Exception) -> bool:
    """Whether `error` is a transport's own. The aiohttp transport lets some of aiohttp's through."""
    return isinstance(error, httpx.HTTPError | httpx.StreamError | OSError) or _is_aiohttp(error)


def failed_request(error: Exception) -> NoukaiError:
    """The typed error for a failure before the reply's headers were read."""
    sent = _may_have_been_sent(error)
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.PoolTimeout):
        return PoolTimeoutError("no connection was free in time; raise the timeout, or run fewer at once", sent=False)
    if isinstance(error, httpx.TimeoutException | TimeoutError) and not _is_wrong_timeout(error):
        return APITimeoutError(f"no answer within the timeout ({text})", sent=sent)
    return APIConnectionError(f"the connection failed ({text})", sent=sent)


def failed_read(error: Exception) -> NoukaiError:
    """The typed error for a failure while a stream was being read."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException | TimeoutError) and not _is_wrong_timeout(error):
        return StreamTimeoutError(f"the stream fell silent for longer than the timeout ({text}); resume at .checkpoint")
    return StreamInterruptedError(f"the stream broke off ({text}); resume at .checkpoint")


def _may_have_been_sent(error: Exception) -> bool:
    cause = error.__cause__
    if isinstance(cause, Exception) and _is_aiohttp(cause):
        # The aiohttp transport calls every lost connection a ConnectTimeout, also one lost after sending.
        names = {kind.__name__ for kind in type(cause).__mro__}
        return not names & {"ClientConnectorError", "ConnectionTimeoutError", "InvalidURL"}
    not_sent = (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.UnsupportedProtocol,
        httpx.ProxyError,
    )
    return not isinstance(error, not_sent)


def _is_wrong_timeout(error: Exception) -> bool:
    return (
        error.__cause__ is not None and _is_aiohttp(error.__cause__) and not isinstance(error.__cause__, TimeoutError)
    )


def _is_aiohttp(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "aiohttp"
