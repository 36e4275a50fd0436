"""This room lets tests script a server: an httpx transport that plays back exchanges, for both kinds of clients.

transport = ScriptedTransport([Exchange(chunks=[b'event: flow_completed\\ndata: {"result": 1}\\n\\n'])])
client = Noukai("nk_test", base_url="http://localhost", http_client=httpx.Client(transport=transport))
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

__all__ = ["Exchange", "ScriptedTransport"]


@dataclass
class Exchange:
    """One answer. An exception among the `chunks` is raised at that point of the body; `error` instead of an answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: Sequence[bytes | Exception] = ()
    error: Exception | None = None
    drained: bool = False
    closed: bool = False

    @classmethod
    def json(cls, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Self:
        """An answer with a JSON body."""
        return cls(status, headers or {}, [json.dumps(body).encode()])


class ScriptedTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers request after request from `exchanges`; `requests` and `bodies` hold what was asked."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self.exchanges = list(exchanges)
        self.requests: list[httpx.Request] = []

    @property
    def bodies(self) -> list[Any]:
        """The JSON body of each request so far, None where there was none."""
        return [json.loads(request.content) if request.content else None for request in self.requests]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._answer(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        position = len(self.requests)
        self.requests.append(request)
        if position >= len(self.exchanges):
            raise AssertionError(f"request {position + 1} is not in the script: {request.method} {request.url}")
        exchange = self.exchanges[position]
        if exchange.error is not None:
            raise exchange.error
        return httpx.Response(exchange.status, headers=exchange.headers, stream=_Body(exchange))


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._exchange.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk
        self._exchange.drained = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self._exchange.closed = True

    async def aclose(self) -> None:
        self._exchange.closed = True
