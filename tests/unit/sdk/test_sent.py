"""What may have reached the server is not sent again, and what certainly did not is said so: TLS, tunnels, timeouts."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from noukai_sdk import APIConnectionError, APITimeoutError, AsyncNoukai, Noukai, NoukaiError
from noukai_sdk._http import senders
from tests.support.sockets import Call, Server, Tunnel


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tls_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Server]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "noukai.invalid").configure_cert(tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    senders.tls_context.cache_clear()
    with Server(tls=tls) as running:
        yield running
    senders.tls_context.cache_clear()


def failure(kind: str, url: str, **options: Any) -> NoukaiError:
    """What one execute fails with; it may be retried once."""

    async def run() -> Any:
        async with AsyncNoukai("nk_x", base_url=url, max_retries=1, **options) as client:
            return await asyncio.wait_for(client.flow("a/b/c").execute("x"), 20)

    try:
        if kind == "async":
            asyncio.run(run())
        else:
            with Noukai("nk_x", base_url=url, max_retries=1, **options) as client:
                client.flow("a/b/c").execute("x")
    except NoukaiError as error:
        return error
    raise AssertionError("it did not fail")


class Paid:
    """Counts the requests that arrive, before it does what it is told to."""

    def __init__(self, then: str) -> None:
        self.times = 0
        self._then = then

    async def __call__(self, call: Call) -> None:
        self.times += 1
        if self._then == "garbage":
            # A record of TLS that nobody can decipher.
            plain = call.writer.get_extra_info("socket")
            os.write(plain.fileno(), b"\x17\x03\x03\x00\x20" + b"z" * 32)
            return
        call.writer.transport.abort()


@pytest.mark.parametrize("then", ["garbage", "hang up"])
def test_a_tls_connection_that_fails_after_the_request(kind: str, tls_server: Server, then: str) -> None:
    paid = tls_server.answer = Paid(then)
    error = failure(kind, tls_server.url)
    assert type(error) is APIConnectionError
    assert (error.sent, paid.times) == (True, 1)


@pytest.mark.parametrize("then", ["garbage", "hang up"])
def test_a_tunnel_that_fails_after_the_request(
    kind: str, tls_server: Server, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = tls_server.answer = Paid(then)
    with Tunnel(tls_server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure(kind, "https://noukai.invalid/api/v1")
    assert type(error) is APIConnectionError
    assert (error.sent, paid.times) == (True, 1)


def test_a_handshake_that_does_not_come(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = failure(kind, f"https://127.0.0.1:{listener.getsockname()[1]}/api/v1", timeout=0.2)
    assert type(error) is APITimeoutError
    assert error.sent is False


def test_a_proxy_that_says_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tunnel(None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        error = failure(kind, "https://noukai.invalid/api/v1", timeout=0.2)
    assert type(error) is APITimeoutError
    assert error.sent is False


def test_a_proxy_that_is_not_there(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{port}")
    error = failure(kind, "https://noukai.invalid/api/v1", timeout=5)
    assert type(error) is APIConnectionError
    assert error.sent is False
    assert str(port) in str(error)
    assert "secret" not in str(error)
