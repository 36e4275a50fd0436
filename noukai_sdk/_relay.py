"""This room holds the relay's client side: a flow behind one URL of your own, called without a key (WIRE.md 6.10).

The server side is `noukai_sdk.adapters.relay`.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from noukai_sdk._config import DEFAULT_MAX_CONNECTIONS, DEFAULT_TIMEOUT_SECONDS, seconds
from noukai_sdk._drive.bounds import Bounds
from noukai_sdk._drive.calls import aconverse, converse
from noukai_sdk._drive.effects import respond
from noukai_sdk._errors import APITimeoutError, ClientClosedError
from noukai_sdk._failures import failed_request, is_failure
from noukai_sdk._http.senders import loop_transport, thread_transport
from noukai_sdk._json import decode, encode
from noukai_sdk._models.requests import ExecuteRequest, Messages, ToolChoice
from noukai_sdk._models.results import ExecuteResult, PausedResult
from noukai_sdk._preparation import AsyncToolHandler, ToolHandler, refuse_async, rounds
from noukai_sdk._protocol.effects import Conversation, Reply, Send
from noukai_sdk._protocol.execute import Execution, ToolFunction
from noukai_sdk._protocol.replies import odd_reply
from noukai_sdk._protocol.session import NO_SESSION

HttpClient = TypeVar("HttpClient", httpx.Client, httpx.AsyncClient)


class _Transport(Generic[HttpClient]):
    """One URL, and the httpx client that posts to it."""

    _kind: type[HttpClient]

    def __init__(self, url: str, *, client: HttpClient | None = None, timeout: float | None = None) -> None:
        _check_url(url, is_relative_possible=client is not None)
        if client is not None and not isinstance(client, self._kind):
            raise TypeError(f"client of {type(self).__name__} must be an httpx.{self._kind.__name__}")
        self._url = url
        self._timeout = DEFAULT_TIMEOUT_SECONDS if timeout is None else seconds(timeout, "timeout")
        self._is_own = client is None
        self._http: HttpClient = self._own_client() if client is None else client

    def _own_client(self) -> HttpClient:
        """One that sends as `Noukai` does: whoever made the flow need not close it, nor keep to one event loop."""
        raise NotImplementedError

    def _post(self, payload: dict[str, Any]) -> Send:
        return Send("POST", self._url, payload, timeout=self._timeout)

    def _request(self, send: Send) -> httpx.Request:
        if self._http.is_closed:
            raise ClientClosedError("the relay's client is closed; make a new one, or close it later", sent=False)
        if send.timeout == 0:
            raise APITimeoutError("timeout=0 leaves no time for a request", sent=False)
        # Built by the client: what it adds, such as a cookie of the application's own session, is what `authorize` reads.
        return self._http.build_request(
            send.method,
            send.path,
            content=encode(send.body),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            timeout=send.timeout,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"


class RelaySyncExecuteTransport(_Transport[httpx.Client]):
    """Posts /execute payloads to a relay; what `RelayFlow` is built on, for those who bring a loop of their own.

    `client` is used as it is and never closed; without one, a client is made once and closed by `close`.
    `timeout` (300 s) bounds silence, not the whole.
    """

    _kind = httpx.Client

    def _own_client(self) -> httpx.Client:
        return httpx.Client(transport=thread_transport(self._url, DEFAULT_MAX_CONNECTIONS))

    def send(self, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object of the answer, {} if an error has none.

        Raises APIConnectionError, APIResponseError for a 2xx answer that is no object, ClientClosedError, ValueError.
        """
        return _status_and_object(converse(_once(self._post(payload)), self._exchange))

    def _exchange(self, send: Send, bounds: Bounds) -> Reply:
        return _reply(respond(self._request(send), partial(self._http.send, stream=True), bounds, stream=False))

    def close(self) -> None:
        """Close the connections, unless they are an injected client's."""
        if self._is_own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RelayExecuteTransport(_Transport[httpx.AsyncClient]):
    """The async kind of `RelaySyncExecuteTransport`. Each event loop that uses it has connections of its own."""

    _kind = httpx.AsyncClient

    def _own_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=loop_transport(self._url, DEFAULT_MAX_CONNECTIONS))

    async def send(self, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """As `RelaySyncExecuteTransport.send`."""
        return _status_and_object(await self._exchange(self._post(payload)))

    async def _exchange(self, send: Send) -> Reply:
        try:
            return _reply(await self._http.send(self._request(send)))
        except Exception as error:
            if not is_failure(error):
                raise
            raise failed_request(error) from error

    async def aclose(self) -> None:
        """Close the connections, unless they are an injected client's."""
        if self._is_own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class RelayFlow:
    """A flow behind a relay, called synchronously. Make one and keep it; close it, or use it in a `with` statement.

    `url` is where the relay was mounted. An injected httpx `client` brings what the relay's `authorize` asks for, and
    perhaps a base URL; it is never closed. `timeout` (300 s) bounds silence. Raises ValueError and TypeError.
    """

    def __init__(self, url: str, *, client: httpx.Client | None = None, timeout: float | None = None) -> None:
        self._transport = RelaySyncExecuteTransport(url, client=client, timeout=timeout)

    def execute(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        parameters: dict[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: ToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
    ) -> ExecuteResult | PausedResult:
        """As `Flow.execute`: same results, same errors. Nothing is sent twice, as nobody knows what the relay did."""
        refuse_async(tool_handler)
        execution = _execution(
            self._transport,
            ExecuteRequest.of(
                message,
                messages=messages,
                parameters=parameters,
                block_overrides=None,
                attachments=None,
                tools=tools,
                tool_choice=tool_choice,
                trace=trace,
            ),
            tool_handler,
            max_tool_rounds,
        )
        return self._resumable(execution, converse(execution.start(), self._transport._exchange))

    def _resumable(self, execution: Execution, result: ExecuteResult | PausedResult) -> ExecuteResult | PausedResult:
        if isinstance(result, PausedResult):
            result.attach("Noukai", partial(self._resume, execution, result))
        return result

    def _resume(self, execution: Execution, paused: PausedResult, results: Any) -> ExecuteResult | PausedResult:
        return self._resumable(execution, converse(execution.resume(paused, results), self._transport._exchange))

    def close(self) -> None:
        """Close the connections, unless they are an injected client's. Later calls raise ClientClosedError."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRelayFlow:
    """A flow behind a relay, called asynchronously; arguments as for `RelayFlow`. Any event loop may use it."""

    def __init__(self, url: str, *, client: httpx.AsyncClient | None = None, timeout: float | None = None) -> None:
        self._transport = RelayExecuteTransport(url, client=client, timeout=timeout)

    async def execute(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        parameters: dict[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: ToolChoice | None = None,
        tool_handler: ToolHandler | AsyncToolHandler | None = None,
        max_tool_rounds: int | None = None,
        trace: bool = False,
    ) -> ExecuteResult | PausedResult:
        """As `AsyncFlow.execute`: same results, same errors. Nothing is sent twice."""
        execution = _execution(
            self._transport,
            ExecuteRequest.of(
                message,
                messages=messages,
                parameters=parameters,
                block_overrides=None,
                attachments=None,
                tools=tools,
                tool_choice=tool_choice,
                trace=trace,
            ),
            tool_handler,
            max_tool_rounds,
        )
        return self._resumable(execution, await aconverse(execution.start(), self._transport._exchange))

    def _resumable(self, execution: Execution, result: ExecuteResult | PausedResult) -> ExecuteResult | PausedResult:
        if isinstance(result, PausedResult):
            result.attach("AsyncNoukai", partial(self._resume, execution, result))
        return result

    async def _resume(self, execution: Execution, paused: PausedResult, results: Any) -> ExecuteResult | PausedResult:
        resumed = await aconverse(execution.resume(paused, results), self._transport._exchange)
        return self._resumable(execution, resumed)

    async def aclose(self) -> None:
        """Close the connections, unless they are an injected client's. Later calls raise ClientClosedError."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _execution(
    transport: _Transport[Any], request: ExecuteRequest, tool_handler: ToolFunction | None, max_tool_rounds: int | None
) -> Execution:
    return Execution(
        request,
        path=transport._url,
        session=NO_SESSION,
        timeout=transport._timeout,
        max_retries=0,
        tool_handler=tool_handler,
        max_tool_rounds=rounds(max_tool_rounds),
    )


def _once(send: Send) -> Conversation[Reply]:
    reply: Reply = yield send
    return reply


def _reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.headers, response.content, time.time())


def _status_and_object(reply: Reply) -> tuple[int, dict[str, Any]]:
    try:
        body = decode(reply.body or b"")
    except ValueError:
        body = None
    if isinstance(body, dict):
        return reply.status, body
    if 200 <= reply.status < 300:
        raise odd_reply(reply, "is not a JSON object")
    return reply.status, {}


def _check_url(url: object, *, is_relative_possible: bool) -> None:
    """Raises ValueError for what cannot be posted to."""
    try:
        parts = urlsplit(url) if isinstance(url, str) and url else None
        host, _ = (parts.hostname, parts.port) if parts else (None, None)
    except ValueError:
        parts = host = None
    is_absolute = parts is not None and parts.scheme in {"http", "https"} and bool(host)
    is_path = is_relative_possible and parts is not None and not parts.scheme and not parts.netloc
    if not (is_absolute or is_path) or not str(url).isprintable() or " " in str(url):
        raise ValueError(f"url {url!r} is not where a relay can be; use https://host/agent/execute")
