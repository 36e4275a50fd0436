"""The relay's client side: the conversation of `execute`, with one URL and no key (WIRE.md 6.10)."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from noukai_sdk import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AsyncRelayFlow,
    AuthenticationError,
    ClientClosedError,
    ExecuteResult,
    Flow,
    NoukaiError,
    PausedResult,
    PoolTimeoutError,
    RateLimitError,
    RelayExecuteTransport,
    RelayFlow,
    RelaySyncExecuteTransport,
    ToolCallLimitError,
)
from noukai_sdk.testing import Exchange, ScriptedTransport

URL = "https://app.example/agent/execute"
DONE = {"status": "completed", "result": 1, "flowId": "F", "blockCount": 1, "executionId": "E"}
PAUSED = {
    "status": "tool_calls_required",
    "executionId": "E",
    "pausedAtStep": "s1",
    "iterationsUsed": 1,
    "toolCallMessages": [{"role": "user", "content": "q"}],
    "toolCalls": [{"id": "c1"}],
    "accumulatedOutputs": {"a": 1},
    "flowId": "F",
    "blockCount": 1,
}
RESULT = {"role": "tool", "toolCallId": "c1", "content": "ok"}


class RelaySide:
    """One of the two kinds of relay clients, behind the same face."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        is_sync = kind == "sync"
        self.flow: Any = RelayFlow if is_sync else AsyncRelayFlow
        self.transport: Any = RelaySyncExecuteTransport if is_sync else RelayExecuteTransport
        self.http: Any = httpx.Client if is_sync else httpx.AsyncClient
        self.other_http: Any = httpx.AsyncClient if is_sync else httpx.Client

    def done(self, value: Any) -> Any:
        return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value

    def execute(
        self, script: ScriptedTransport, *args: Any, options: dict[str, Any] | None = None, **kwargs: Any
    ) -> Any:
        options = {"url": URL, **(options or {})}
        flow = self.flow(client=self.http(transport=script), **options)
        return self.done(flow.execute(*args, **kwargs))

    def resume(self, paused: PausedResult, results: Any) -> Any:
        if self.kind == "sync":
            return paused.resume_sync(tool_results=results)
        return self.done(paused.resume(tool_results=results))

    def close(self, thing: Any) -> None:
        self.done(thing.close() if self.kind == "sync" else thing.aclose())


async def _awaited(value: Any) -> Any:
    return await value


@pytest.fixture(params=["sync", "async"])
def relay(request: pytest.FixtureRequest) -> RelaySide:
    return RelaySide(request.param)


def test_a_call_is_the_body_of_execute_without_key_or_noukai_headers(
    relay: RelaySide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOUKAI_API_KEY", "nk_secret")
    script = ScriptedTransport([Exchange.json(DONE)])
    result = relay.execute(script, "hi")
    assert isinstance(result, ExecuteResult)
    assert (result.output, result.execution_id, result.session_id) == (1, "E", None)
    (request,) = script.requests
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.content == (
        b'{"message":"hi","parameters":{},"iterationsUsed":0,"accumulatedOutputs":{},"trace":false}'
    )
    assert not any("noukai" in f"{name}{value}".lower() for name, value in request.headers.items())
    assert "nk_secret" not in str(request.headers.raw)
    assert "authorization" not in request.headers


def test_everything_that_can_be_sent(relay: RelaySide) -> None:
    script = ScriptedTransport([Exchange.json(DONE)])
    relay.execute(
        script,
        messages=[{"role": "user", "content": "q"}],
        parameters={"p": None},
        tools=[{"type": "function"}],
        tool_choice="auto",
        trace=True,
    )
    assert script.bodies[0] == {
        "messages": [{"role": "user", "content": "q"}],
        "parameters": {"p": None},
        "tools": [{"type": "function"}],
        "toolChoice": "auto",
        "iterationsUsed": 0,
        "accumulatedOutputs": {},
        "trace": True,
    }


def test_an_injected_client_brings_its_headers_cookies_and_base_url_and_is_not_closed(relay: RelaySide) -> None:
    script = ScriptedTransport([Exchange.json(DONE)])
    http = relay.http(
        transport=script, base_url="https://app.example/", headers={"X-App": "1"}, cookies={"session": "s"}
    )
    flow = relay.flow("/agent/execute", client=http)
    relay.done(flow.execute("hi"))
    assert str(script.requests[0].url) == URL
    assert (script.requests[0].headers["x-app"], script.requests[0].headers["cookie"]) == ("1", "session=s")
    relay.close(flow)
    assert not http.is_closed


def test_tool_rounds(relay: RelaySide) -> None:
    script = ScriptedTransport([Exchange.json(PAUSED), Exchange.json(DONE)])
    result = relay.execute(script, "hi", parameters={"p": 1}, tool_handler=lambda _: [RESULT])
    assert result.output == 1
    assert script.bodies[1] == {
        "parameters": {"p": 1},
        "executionId": "E",
        "pausedAtStep": "s1",
        "iterationsUsed": 1,
        "toolCallMessages": [*PAUSED["toolCallMessages"], RESULT],  # type: ignore[misc]
        "accumulatedOutputs": {"a": 1},
        "trace": False,
    }
    with pytest.raises(ToolCallLimitError, match="max_tool_rounds=0"):
        relay.execute(ScriptedTransport([Exchange.json(PAUSED)]), tool_handler=lambda _: [], max_tool_rounds=0)


def test_a_pause_is_resumed_through_the_relay(relay: RelaySide) -> None:
    script = ScriptedTransport([Exchange.json(PAUSED), Exchange.json(PAUSED), Exchange.json(DONE)])
    paused = relay.execute(script, "hi")
    again = relay.resume(paused, [RESULT])
    assert isinstance(again, PausedResult)
    assert relay.resume(again, [RESULT]).output == 1
    assert [body.get("executionId") for body in script.bodies] == [None, "E", "E"]
    with pytest.raises(RuntimeError, match="already"):
        relay.resume(paused, [RESULT])


def test_errors_are_typed_and_keep_what_the_headers_say(relay: RelaySide) -> None:
    body = {"detail": {"code": "RATE_LIMIT", "message": "slow down"}}
    headers = {"Retry-After": "3", "X-Request-ID": "r1"}
    script = ScriptedTransport([Exchange.json(body, 429, headers)])
    with pytest.raises(RateLimitError) as limited:
        relay.execute(script, "hi")
    assert (limited.value.code, limited.value.retry_after, limited.value.request_id) == ("RATE_LIMIT", 3.0, "r1")
    assert len(script.requests) == 1
    script = ScriptedTransport([Exchange.json({"detail": "no"}, 401, {"WWW-Authenticate": "Bearer"})])
    with pytest.raises(AuthenticationError, match="no") as refused:
        relay.execute(script, "hi")
    assert refused.value.www_authenticate == "Bearer"


@pytest.mark.parametrize(
    ("failure", "kind", "sent"),
    [
        (httpx.ConnectError("refused"), APIConnectionError, False),
        (httpx.ReadError("reset"), APIConnectionError, True),
        (httpx.ReadTimeout("slow"), APITimeoutError, True),
        (httpx.PoolTimeout("busy"), PoolTimeoutError, False),
    ],
)
@pytest.mark.parametrize("way", ["execute", "send"])
def test_transport_failures_are_typed(
    relay: RelaySide, failure: Exception, kind: type[NoukaiError], sent: bool, way: str
) -> None:
    script = ScriptedTransport([Exchange(error=failure)])
    kind_of_client = relay.flow if way == "execute" else relay.transport
    ask = getattr(kind_of_client(URL, client=relay.http(transport=script)), way)
    with pytest.raises(kind) as caught:
        relay.done(ask({}))
    assert (type(caught.value), caught.value.sent) == (kind, sent)


def test_a_body_that_breaks_off_is_typed(relay: RelaySide) -> None:
    with pytest.raises(APIConnectionError, match="gone"):
        relay.execute(ScriptedTransport([Exchange(chunks=[b"{", httpx.ReadError("gone")])]), "hi")


@pytest.mark.parametrize(
    "answer", [Exchange(chunks=[b"<html>"]), Exchange.json([1]), Exchange(status=307, headers={"Location": "/x"})]
)
def test_an_answer_that_is_none_is_typed(relay: RelaySide, answer: Exchange) -> None:
    with pytest.raises(APIResponseError):
        relay.execute(ScriptedTransport([answer]), "hi")


def test_input_that_is_refused_before_it_is_sent(relay: RelaySide) -> None:
    with pytest.raises(ValueError, match="not both"):
        relay.execute(ScriptedTransport([]), "hi", messages=[{"role": "user"}])
    with pytest.raises(ValueError, match="JSON"):
        relay.execute(ScriptedTransport([]), parameters={"x": object()})
    with pytest.raises(ValueError, match="from 0 on"):
        relay.flow(URL, timeout=-1)
    with pytest.raises(APITimeoutError, match="no time"):
        relay.execute(ScriptedTransport([]), "hi", options={"timeout": 0})


def test_an_async_tool_handler_is_refused_by_the_sync_client() -> None:
    async def answer(_: Any) -> Any:
        return []

    with pytest.raises(TypeError, match="sync"):
        RelayFlow(URL, client=httpx.Client(transport=ScriptedTransport([]))).execute(tool_handler=answer)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "agent/execute",
        "/agent/execute",
        "ftp://x/y",
        "https://",
        "https://a b/",
        "https://[/",
        None,
        "http://x:no/",
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused(relay: RelaySide, url: Any) -> None:
    with pytest.raises(ValueError, match="url"):
        relay.flow(url)


def test_the_other_kind_of_client_is_refused(relay: RelaySide) -> None:
    with pytest.raises(TypeError, match=r"httpx\."):
        relay.flow(URL, client=relay.other_http(transport=ScriptedTransport([])))


def test_the_timeout_is_per_phase_and_long_by_default(relay: RelaySide) -> None:
    script = ScriptedTransport([Exchange.json(DONE)] * 2)
    relay.execute(script, "hi")
    relay.execute(script, "hi", options={"timeout": 7})
    assert [request.extensions["timeout"]["read"] for request in script.requests] == [300.0, 7.0]


def test_transports_send_payloads_as_they_are_and_give_status_and_object(relay: RelaySide) -> None:
    script = ScriptedTransport(
        [
            Exchange.json({"a": 1}),
            Exchange.json({"detail": "x"}, 429),
            Exchange(status=502, chunks=[b"<html>"]),
            Exchange.json([1]),
        ]
    )
    transport = relay.transport(URL, client=relay.http(transport=script))
    assert relay.done(transport.send({"message": "hi", "z": None})) == (200, {"a": 1})
    assert script.requests[0].content == b'{"message":"hi","z":null}'
    assert relay.done(transport.send({})) == (429, {"detail": "x"})
    assert relay.done(transport.send({})) == (502, {})
    with pytest.raises(APIResponseError, match="not a JSON object"):
        relay.done(transport.send({}))


def test_after_closing_nothing_is_sent(relay: RelaySide) -> None:
    flow = relay.flow("http://127.0.0.1:9/agent/execute")
    relay.close(flow)
    relay.close(flow)
    with pytest.raises(ClientClosedError) as closed:
        relay.done(flow.execute("hi"))
    assert closed.value.sent is False


def test_both_kinds_take_the_same_arguments_and_no_more_than_a_flow() -> None:
    def arguments(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    assert arguments(RelayFlow.execute) == arguments(AsyncRelayFlow.execute)
    assert {name for name, *_ in arguments(RelayFlow.execute)} <= {name for name, *_ in arguments(Flow.execute)}
    for kind in (RelayFlow, AsyncRelayFlow, RelayExecuteTransport, RelaySyncExecuteTransport):
        assert [name for name, *_ in arguments(kind)] == ["url", "client", "timeout"]


class _Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.callers.append(self.client_address)  # type: ignore[attr-defined]
        body = b'{"status":"completed","result":1,"flowId":"F","blockCount":1}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Relay) as server:
        server.callers = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_flow_that_is_kept_uses_its_connection_again(relay: RelaySide, server: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{server.server_port}/agent/execute"

    async def thrice() -> None:
        async with AsyncRelayFlow(url) as flow:
            for _ in range(3):
                await flow.execute("hi")

    if relay.kind == "async":
        asyncio.run(thrice())
    else:
        with RelayFlow(url) as flow:
            for _ in range(3):
                flow.execute("hi")
    assert (len(server.callers), len(set(server.callers))) == (3, 1)  # type: ignore[attr-defined]


def test_transports_are_context_managers(relay: RelaySide) -> None:
    async def enter() -> None:
        async with RelayExecuteTransport(URL) as transport:
            assert "app.example" in repr(transport)
        with pytest.raises(ClientClosedError):
            await transport.send({})

    if relay.kind == "async":
        asyncio.run(enter())
        return
    with RelaySyncExecuteTransport(URL) as transport:
        assert "app.example" in repr(transport)
    with pytest.raises(ClientClosedError):
        transport.send({})
