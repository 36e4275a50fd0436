"""This room plays back a script: an httpx transport that answers exchange by exchange, for both kinds of clients."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import httpx

from noukai_sdk._client import AsyncNoukai, Noukai
from noukai_sdk.testing._wire import FailureKind, Stall, failure

BASE_URL = "http://localhost/api/v1"
Piece = bytes | Exception | Stall


@dataclass
class Exchange:
    """One answer. Its body comes in these `chunks`, one read each; an exception among them is raised at that point, a
    `Stall` holds the body there. `error` is raised instead of an answer.

    Afterwards, `drained` tells whether the body was read to its end, and `closed` whether it was closed.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[Piece] = ()
    error: Exception | None = None
    drained: bool = False
    closed: bool = False

    def __post_init__(self) -> None:
        for chunk in self.chunks:
            if not isinstance(chunk, bytes | Exception | Stall):
                raise TypeError(f"a chunk is bytes, an exception or a Stall, not {chunk!r}; text must be encoded")

    @classmethod
    def json(cls, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """An answer with a JSON body."""
        return cls(status, {"Content-Type": "application/json", **(headers or {})}, [json.dumps(body).encode()])

    @classmethod
    def completed(cls, result: Any, **members: Any) -> Self:
        """The answer to an `execute` that ended well; `members` by their names on the wire (WIRE.md 3.3)."""
        return cls.json(
            {"status": "completed", "result": result, "flowId": "F", "blockCount": 1, "executionId": "E", **members}
        )

    @classmethod
    def refusal(cls, status: int, code: str, message: str = "", *, headers: Mapping[str, str] | None = None) -> Self:
        """An answer in the service's shape of errors (WIRE.md 2.1)."""
        return cls.json({"detail": {"code": code, "message": message}}, status, headers)

    @classmethod
    def stream(cls, *chunks: Piece, headers: Mapping[str, str] | None = None) -> Self:
        """An event stream, made of `sse` frames or of any bytes, failures and stalls."""
        return cls(200, {"Content-Type": "text/event-stream", **(headers or {})}, chunks)

    @classmethod
    def failing(cls, kind: FailureKind) -> Self:
        """No answer: the network fails first."""
        return cls(error=failure(kind))

    def cut_at(self, byte: int, by: FailureKind = "cut") -> Self:
        """The same answer, whose body fails after so many bytes. Raises ValueError if it has fewer."""
        if byte < 0:
            raise ValueError(f"a body cannot be cut at {byte}; count from its beginning")
        kept: list[Piece] = []
        left = byte
        for chunk in self.chunks:
            if not isinstance(chunk, bytes):
                kept.append(chunk)
            elif left > len(chunk):
                kept.append(chunk)
                left -= len(chunk)
            else:
                return replace(self, chunks=[*kept, chunk[:left], failure(by)])
        if left:
            raise ValueError(f"the body has {byte - left} bytes; it cannot be cut at {byte}")
        return replace(self, chunks=[*kept, failure(by)])

    def in_pieces(self, size: int = 1) -> Self:
        """The same answer, whose bytes come so many at a time. Raises ValueError for less than one."""
        if size < 1:
            raise ValueError(f"pieces of {size} bytes never end; use 1 or more")
        pieces: list[Piece] = []
        for chunk in self.chunks:
            if isinstance(chunk, bytes):
                pieces += [chunk[start : start + size] for start in range(0, len(chunk), size)]
            else:
                pieces.append(chunk)
        return replace(self, chunks=pieces)

    def __str__(self) -> str:
        return type(self.error).__name__ if self.error is not None else f"HTTP {self.status}"


class ScriptedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers request after request from `exchanges`; `requests` and `bodies` hold what was asked.

    A request beyond the script raises AssertionError where it is made. Safe to share between threads.
    """

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        if isinstance(exchanges, Exchange) or not all(isinstance(exchange, Exchange) for exchange in exchanges):
            raise TypeError(f"a script is a list of exchanges, not {exchanges!r}; Exchange.json makes one of a body")
        self.exchanges = list(exchanges)
        self.requests: list[httpx.Request] = []
        self._lock = threading.Lock()

    def client(self, api_key: str = "nk_test", **options: Any) -> Noukai:
        """A sync client that asks this script; options as for `Noukai`, but nothing is retried unless you say so."""
        return Noukai(api_key, http_client=httpx.Client(transport=self), **_defaults(options))

    def async_client(self, api_key: str = "nk_test", **options: Any) -> AsyncNoukai:
        """An async client that asks this script; options as for `AsyncNoukai`, but nothing is retried by default."""
        return AsyncNoukai(api_key, http_client=httpx.AsyncClient(transport=self), **_defaults(options))

    @property
    def bodies(self) -> list[Any]:
        """The JSON body of each request so far, None where there was none."""
        return [json.loads(request.content) if request.content else None for request in self.requests]

    @property
    def remaining(self) -> list[Exchange]:
        """The exchanges that nobody has asked for yet."""
        return self.exchanges[len(self.requests) :]

    def assert_done(self) -> None:
        """Raise AssertionError unless there was one request for each exchange, no more and no less."""
        if len(self.requests) > len(self.exchanges):
            raise AssertionError(self._beyond(len(self.exchanges)))
        if self.remaining:
            raise AssertionError(
                f"{len(self.remaining)} of {len(self.exchanges)} exchanges were not asked for; "
                f"the next is {self.remaining[0]}{self._story(len(self.requests))}"
            )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            position = len(self.requests)
            self.requests.append(request)
        if position >= len(self.exchanges):
            raise AssertionError(self._beyond(position))
        exchange = self.exchanges[position]
        if exchange.error is not None:
            raise exchange.error
        return httpx.Response(exchange.status, headers=exchange.headers, stream=_Body(exchange, _patience(request)))

    def _beyond(self, position: int) -> str:
        return (
            f"request {position + 1} is not in the script of {len(self.exchanges)} exchanges: "
            f"{_line(self.requests[position])}{self._story(position)}"
        )

    def _story(self, end: int) -> str:
        lines = [f"  {number}. {_line(request)}" for number, request in enumerate(self.requests[:end], 1)]
        return "\n".join(["\nbefore that:", *lines]) if lines else ""


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, exchange: Exchange, patience: float | None) -> None:
        self._exchange = exchange
        self._patience = patience

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._exchange.chunks:
            if isinstance(piece, Stall):
                piece.hold(self._patience)
            else:
                yield _bytes(piece)
        self._exchange.drained = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._exchange.chunks:
            if isinstance(piece, Stall):
                await piece.ahold(self._patience)
            else:
                yield _bytes(piece)
        self._exchange.drained = True

    def close(self) -> None:
        self._exchange.closed = True

    async def aclose(self) -> None:
        self._exchange.closed = True


def _defaults(options: dict[str, Any]) -> dict[str, Any]:
    return {"base_url": BASE_URL, "max_retries": 0, **options}


def _bytes(piece: bytes | Exception) -> bytes:
    if isinstance(piece, Exception):
        raise piece
    return piece


def _patience(request: httpx.Request) -> float | None:
    timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
    return timeouts.get("read")


def _line(request: httpx.Request) -> str:
    body = request.content.decode("utf-8", "replace")
    return f"{request.method} {request.url.path} {body if len(body) <= 200 else body[:200] + '…'}".rstrip()
