"""Keys, environments, base URLs, and the other settings."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from noukai_sdk import AsyncNoukai, AuthenticationError, ClientClosedError, Noukai
from noukai_sdk._http.senders import proxy_of
from noukai_sdk.testing import Exchange, ScriptedTransport

PRODUCTION = "https://api.noukai.dev/api/v1"
LOCAL = "http://localhost:8080/api/v1"


@pytest.mark.parametrize("client", [Noukai, AsyncNoukai])
@pytest.mark.parametrize("key", [None, "", "sk_1", "nk_a b", "nk_ä", "nk_a\n"])
def test_unusable_keys_are_refused_when_constructing(client: Any, key: str | None) -> None:
    with pytest.raises(AuthenticationError) as caught:
        client(key)
    assert caught.value.status_code is None
    assert caught.value.sent is False
    assert "nk_a" not in str(caught.value)


def test_the_key_comes_from_the_environment_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUKAI_API_KEY", "nk_secret")
    with Noukai() as client:
        flow = client.flow("a/b/c")
        assert "nk_secret" not in f"{client!r} {flow!r} {client._connection!r}"


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ({}, {}, PRODUCTION),
        ({"env": "production"}, {"NOUKAI_ENV": "dev", "NOUKAI_BASE_URL": "https://e"}, PRODUCTION),
        ({"env": "dev"}, {}, LOCAL),
        ({"env": "development"}, {}, LOCAL),
        ({}, {"NOUKAI_ENV": "dev"}, LOCAL),
        ({}, {"NOUKAI_ENV": "dev", "NOUKAI_BASE_URL": "https://e/v1/"}, "https://e/v1"),
        ({"base_url": "https://b", "env": "dev"}, {"NOUKAI_BASE_URL": "https://e"}, "https://b"),
        ({"base_url": "http://127.0.0.1:9/x"}, {}, "http://127.0.0.1:9/x"),
        ({"base_url": "http://[::1]:9"}, {}, "http://[::1]:9"),
    ],
)
def test_base_url_precedence(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], environ: dict[str, str], expected: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with Noukai("nk_x", **arguments) as client:
        assert client.base_url == expected


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"env": "staging"}, '"production" or "dev"'),
        ({"env": "Dev"}, '"production" or "dev"'),
        ({"base_url": "http://example.com"}, "https"),
        ({"base_url": "ftp://localhost"}, "https"),
        ({"base_url": "localhost:8080"}, "must look like"),
        ({"base_url": "https://u:p@host"}, "without"),
        ({"base_url": "https://host?x=1"}, "without"),
        ({"base_url": "https://host:port"}, "not a URL"),
        ({"org": "a"}, "together"),
        ({"org": "a/b", "project": "c"}, "letters"),
        ({"timeout": -1}, "from 0 on"),
        ({"timeout": float("nan")}, "from 0 on"),
        ({"timeout": True}, "from 0 on"),
        ({"max_retries": -1}, "from 0 on"),
        ({"max_retries": 1.5}, "from 0 on"),
        ({"session_id": "sö"}, "ASCII"),
        ({"session_id": "a\r\nb"}, "ASCII"),
    ],
)
@pytest.mark.parametrize("client", [Noukai, AsyncNoukai])
def test_bad_settings_name_the_remedy(client: Any, arguments: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        client("nk_x", **arguments)


def test_an_unknown_environment_variable_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUKAI_ENV", "staging")
    with pytest.raises(ValueError, match="NOUKAI_ENV"):
        Noukai("nk_x")


def test_the_wrong_kind_of_http_client_is_refused() -> None:
    with pytest.raises(TypeError, match=r"httpx\.Client"):
        Noukai("nk_x", http_client=httpx.AsyncClient())  # type: ignore[arg-type]
    with httpx.Client() as sync, pytest.raises(TypeError, match=r"httpx\.AsyncClient"):
        AsyncNoukai("nk_x", http_client=sync)  # type: ignore[arg-type]


def test_a_proxy_never_sees_a_key_meant_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:2")
    assert proxy_of(Noukai("nk_x", env="dev").base_url) is None
    assert proxy_of(Noukai("nk_x").base_url) == "http://127.0.0.1:2"
    monkeypatch.setenv("NO_PROXY", "noukai.dev")
    assert proxy_of(Noukai("nk_x").base_url) is None


@pytest.mark.parametrize(
    ("value", "proxy"),
    [("proxy.corp:3128", "http://proxy.corp:3128"), ("10.0.0.1:3128", "http://10.0.0.1:3128"), ("", None)],
)
def test_a_proxy_without_a_scheme_speaks_http(monkeypatch: pytest.MonkeyPatch, value: str, proxy: str | None) -> None:
    monkeypatch.setenv("https_proxy", value)
    assert proxy_of(Noukai("nk_x").base_url) == proxy


def test_a_proxy_that_cannot_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ValueError, match="http_client"):
        proxy_of(Noukai("nk_x").base_url)


def test_further_clients_are_cheap() -> None:
    Noukai("nk_x").close()
    started = time.process_time()
    for _ in range(20):
        Noukai("nk_x").close()
    assert (time.process_time() - started) / 20 < 0.005  # a TLS context alone takes some 30 ms


def test_headers_and_url(side: Any) -> None:
    answer = Exchange.json({"status": "completed", "flowId": "F", "blockCount": 1})
    _, transport = side.execute([answer], "hi", session_id="S")
    request = transport.requests[0]
    assert str(request.url) == "http://localhost/api/v1/seq/acme/it/two-step/execute"
    assert request.headers["Authorization"] == "Bearer nk_test"
    assert request.headers["X-Noukai-API-Version"] == "2026-05-31"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["X-Session-Id"] == "S"
    assert request.headers["User-Agent"].startswith("noukai-python/")
    assert "X-Request-ID" not in request.headers


def test_an_injected_client_adds_nothing_of_its_own_and_stays_open() -> None:
    answer = {"status": "completed", "flowId": "F", "blockCount": 1}
    transport = ScriptedTransport([Exchange.json(answer, headers={"Set-Cookie": "a=1"}), Exchange.json(answer)])
    with httpx.Client(
        transport=transport, base_url="https://elsewhere", headers={"X-Own": "1"}, auth=("u", "p"), cookies={"c": "1"}
    ) as http:
        for key in ("nk_one", "nk_two"):
            with Noukai(key, env="dev", http_client=http) as client:
                client.flow("a/b/c").execute()
        assert not http.is_closed
    assert [request.headers["Authorization"] for request in transport.requests] == ["Bearer nk_one", "Bearer nk_two"]
    for request in transport.requests:
        assert request.url.host == "localhost"
        assert "X-Own" not in request.headers
        assert "Cookie" not in request.headers


def test_calls_after_close(side: Any) -> None:
    client = side.client(ScriptedTransport([]))
    flow = client.flow("a/b/c")
    if side.kind == "sync":
        client.close()
        client.close()
        with pytest.raises(ClientClosedError) as caught:
            flow.execute()
        with pytest.raises(ClientClosedError):
            next(flow.events())
    else:
        import asyncio

        async def closed() -> None:
            await client.aclose()
            await client.aclose()
            with pytest.raises(ClientClosedError):
                await anext(flow.events())
            await flow.execute()

        with pytest.raises(ClientClosedError) as caught:
            asyncio.run(closed())
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.sent is False


def test_log_events_and_a_handler_that_raises(side: Any, two_steps: Any, caplog: pytest.LogCaptureFixture) -> None:
    events: list[dict[str, Any]] = []

    def log(event: dict[str, Any]) -> None:
        events.append(event)
        raise ValueError("broken log")

    answer = Exchange.json({"status": "completed", "flowId": "F", "blockCount": 1}, headers={"X-Request-ID": "R"})
    side.execute([answer], "hi", options={"log_handler": log, "log_payloads": True})
    line = {"method": "POST", "path": "/seq/acme/it/two-step/execute", "attempt": 0}
    body = {"message": "hi", "parameters": {}, "iterationsUsed": 0, "accumulatedOutputs": {}, "trace": False}
    assert events == [
        {"phase": "request", **line, "request_body": body},
        {
            "phase": "response",
            **line,
            "status_code": 200,
            "request_id": "R",
            "response_body": {"status": "completed", "flowId": "F", "blockCount": 1},
        },
    ]
    assert "the log_handler raised" in caplog.text
    events.clear()
    side.play(two_steps, options={"log_handler": log, "log_payloads": True})
    assert [(event["phase"], event["streaming"]) for event in events] == [("request", True), ("response", True)] * 2
    assert not any("body" in key for event in events for key in event)
