"""The transports that clients send with by default: pools, failures, TLS, proxies, event loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest
import trustme

from noukai_sdk import (
    APIConnectionError,
    APITimeoutError,
    AsyncNoukai,
    ClientClosedError,
    ExecuteResult,
    Noukai,
    NoukaiError,
    PoolTimeoutError,
    StreamInterruptedError,
    _transport,
)
from noukai_sdk._http import connections, senders
from tests.support.sockets import END, HEAD, Call, Server, never, three_steps

RESULT = json.dumps({"status": "completed", "result": 1, "flowId": "F", "blockCount": 1}).encode()


async def result(call: Call) -> None:
    await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(RESULT), RESULT))


async def endless(call: Call) -> None:
    await call.write(HEAD)
    await call.frames("run_started")
    await never()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        running.answer = result
        yield running


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def outcome(kind: str, url: str, **options: Any) -> ExecuteResult | NoukaiError:
    """What one execute comes to."""

    async def run() -> Any:
        async with AsyncNoukai("nk_x", base_url=url, max_retries=0, **options) as client:
            return await client.flow("a/b/c").execute("x")

    try:
        if kind == "async":
            return asyncio.run(run())  # type: ignore[no-any-return]
        with Noukai("nk_x", base_url=url, max_retries=0, **options) as client:
            answer = client.flow("a/b/c").execute("x")
            assert isinstance(answer, ExecuteResult)
            return answer
    except NoukaiError as error:
        return error


def play(kind: str, server: Server, times: int = 1, **options: Any) -> list[str]:
    """The types of the events of so many streams, one after another."""

    async def run() -> list[str]:
        async with AsyncNoukai("nk_x", base_url=server.url, **options) as client:
            flow = client.flow("a/b/c")
            return [event.event_type for _ in range(times) async for event in flow.events()]

    if kind == "async":
        return asyncio.run(run())
    with Noukai("nk_x", base_url=server.url, **options) as client:
        return [event.event_type for _ in range(times) for event in client.flow("a/b/c").events()]


def test_calls_share_a_connection(server: Server) -> None:
    with Noukai("nk_x", base_url=server.url) as client:
        assert [client.flow("a/b/c").execute("x").requires_tool_calls for _ in range(3)] == [False] * 3
    assert server.connections == 1


def test_waiting_for_a_connection_is_an_error_of_its_own(kind: str, server: Server) -> None:
    server.answer, server.is_watching = endless, True
    options: dict[str, Any] = {"base_url": server.url, "max_connections": 1, "pool_timeout": 0.05, "max_retries": 0}

    async def run() -> None:
        async with AsyncNoukai("nk_x", **options) as client, client.flow("a/b/c").events() as stream:
            await anext(stream)
            with pytest.raises(PoolTimeoutError) as caught:
                await client.flow("a/b/c").execute("x")
            assert caught.value.sent is False
            await stream.aclose()
            assert (await anext(client.flow("a/b/c").events())).event_type == "run_started"

    if kind == "async":
        asyncio.run(run())
        return
    with Noukai("nk_x", **options) as client, client.flow("a/b/c").events() as stream:
        next(stream)
        with pytest.raises(PoolTimeoutError) as caught:
            client.flow("a/b/c").execute("x")
        assert caught.value.sent is False
        stream.close()
        assert next(client.flow("a/b/c").events()).event_type == "run_started"


@pytest.mark.parametrize("limit", [3, None])
def test_so_many_connections_and_no_more(server: Server, limit: int | None) -> None:
    expected = 8 if limit is None else limit
    together = asyncio.Barrier(expected)

    async def gathered(call: Call) -> None:
        await asyncio.wait_for(together.wait(), 10)
        await result(call)

    server.answer = gathered
    with Noukai("nk_x", base_url=server.url, max_connections=limit) as client, ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(client.flow("a/b/c").execute, "x") for _ in range(24)]
        assert all(call.result(20) for call in calls)
    assert server.connections == expected


def test_a_cancelled_wait_takes_no_place(server: Server) -> None:
    async def run() -> None:
        async with AsyncNoukai("nk_x", base_url=server.url, max_connections=1) as client:
            server.answer = endless
            stream = client.flow("a/b/c").events()
            await anext(stream)
            waiting = asyncio.ensure_future(client.flow("a/b/c").execute("x"))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await stream.aclose()
            server.answer = result
            assert await client.flow("a/b/c").execute("x")

    asyncio.run(run())


def test_an_answer_that_stays_away(kind: str, server: Server) -> None:
    async def silence(_: Call) -> None:
        await never()

    server.answer, server.is_watching = silence, True
    error = outcome(kind, server.url, timeout=0.1)
    assert type(error) is APITimeoutError
    assert error.sent is True


def test_a_host_that_does_not_answer_was_sent_nothing(kind: str) -> None:
    # A full backlog: the handshake of the next connection is not completed.
    with socket.socket() as listener, contextlib.ExitStack() as held:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        error = outcome(kind, f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1", timeout=0.2)
    assert type(error) is APITimeoutError
    assert error.sent is False


@pytest.mark.parametrize("head", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
def test_an_answer_that_is_not_http(kind: str, server: Server, head: bytes) -> None:
    async def gibberish(call: Call) -> None:
        await call.write(head)
        call.writer.close()

    server.answer = gibberish
    error = outcome(kind, server.url)
    assert isinstance(error, APIConnectionError)
    assert error.sent is True


@pytest.mark.parametrize("rest", [b"5\r\nab", b"zz\r\n", b"2\r\nabc\r\n"])
def test_a_chunked_body_that_breaks(kind: str, server: Server, rest: bytes) -> None:
    async def breaking(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        await call.write(rest)
        call.writer.close()

    server.answer = breaking
    # aiohttp takes it for a failed answer if it comes in one packet with the head; later, it does not always notice.
    with pytest.raises(StreamInterruptedError if kind == "sync" else APIConnectionError) as caught:
        play(kind, server, timeout=0.5)
    assert caught.value.sent is True


def test_a_body_that_ends_with_its_connection(kind: str, server: Server) -> None:
    async def old_style(call: Call) -> None:
        await call.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + RESULT)
        call.writer.close()

    server.answer = old_style
    assert isinstance(outcome(kind, server.url), ExecuteResult)


def test_a_compressed_answer(kind: str, server: Server) -> None:
    import gzip

    packed = gzip.compress(RESULT)

    async def compressed(call: Call) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        await call.write(head + packed)

    server.answer = compressed
    assert isinstance(outcome(kind, server.url), ExecuteResult)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nServer: caf\xe9 \xff\r\n", id="not ASCII"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Security-Policy: %s\r\n" % (b"a" * 30_000), id="long"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", id="100"),
        pytest.param(b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + b"HTTP/1.1 200 OK\r\n", id="102"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n", id="103"),
    ],
)
def test_unusual_heads(kind: str, server: Server, head: bytes) -> None:
    async def unusual(call: Call) -> None:
        await call.write(head + b"Content-Length: %d\r\n\r\n%s" % (len(RESULT), RESULT))

    server.answer = unusual
    assert isinstance(outcome(kind, server.url), ExecuteResult)


def test_a_connection_that_was_idle_for_long_is_not_used_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Noukai("nk_x", base_url=server.url) as client:
        for _ in range(2):
            client.flow("a/b/c").execute("x")
        assert server.connections == 1
        monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.0)
        client.flow("a/b/c").execute("x")
        assert server.connections == 2


def test_an_idle_connection_that_the_server_closed_is_not_used_again(server: Server) -> None:
    async def closing(call: Call) -> None:
        await result(call)
        call.writer.close()

    server.answer = closing
    with Noukai("nk_x", base_url=server.url, max_retries=0) as client:
        for number in range(1, 4):
            client.flow("a/b/c").execute("x")
            assert server.closed.acquire(timeout=10)
            assert server.connections == number


def test_tls(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with Server(tls=tls) as server:
        server.answer = result
        senders.tls_context.cache_clear()
        strange = outcome(kind, server.url)
        assert type(strange) is APIConnectionError
        assert strange.sent is False
        assert "certificate" in str(strange).lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        senders.tls_context.cache_clear()
        try:
            assert isinstance(outcome(kind, server.url), ExecuteResult)
        finally:
            senders.tls_context.cache_clear()


def test_a_proxy_of_the_environment_is_asked_for_the_tunnel(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def proxy(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(4096)
            asked.append(head)
            connection.sendall(b"HTTP/1.1 503 No tunnel\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=proxy, args=(listener,))
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{listener.getsockname()[1]}")
        error = outcome(kind, "https://noukai.invalid/api/v1")
        thread.join(10)
    assert type(error) is APIConnectionError
    assert error.sent is False
    head = asked[0].lower()
    assert head.startswith(b"connect noukai.invalid:443 ")
    assert b"proxy-authorization: basic bwu6cebzcw==" in head  # me:p@ss
    assert b"nk_x" not in head


def test_one_async_client_serves_one_event_loop_after_another(server: Server) -> None:
    client = AsyncNoukai("nk_x", base_url=server.url)
    for _ in range(3):
        assert isinstance(asyncio.run(client.flow("a/b/c").execute("x")), ExecuteResult)
    assert server.connections == 3
    asyncio.run(client.aclose())


def test_event_loops_that_are_gone_leave_nothing_behind(server: Server) -> None:
    def sessions() -> int:
        gc.collect()
        return sum(type(item) is aiohttp.ClientSession for item in gc.get_objects())

    before = sessions()
    client = AsyncNoukai("nk_x", base_url=server.url)
    for _ in range(10):
        asyncio.run(client.flow("a/b/c").execute("x"))
    assert sessions() - before <= 1
    asyncio.run(client.aclose())


FORK = """
import os, sys
from noukai_sdk import Noukai
client = Noukai("nk_x", base_url=sys.argv[1])
client.flow("a/b/c").execute("x")
child = os.fork()
client.flow("a/b/c").execute("x")
if child == 0:
    os._exit(7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_has_connections_of_its_own(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert server.connections == 2


def test_threads_that_come_first_at_once_share_a_connection(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2)
    make = _transport.sync_connection

    def slowly(*args: Any) -> Any:
        made = make(*args)
        both.wait(10)
        return made

    monkeypatch.setattr(_transport, "sync_connection", slowly)
    with Noukai("nk_x", base_url=server.url) as client, ThreadPoolExecutor(2) as threads:
        flows = list(threads.map(client.flow, ["a/b/c"] * 2))
    for flow in flows:
        with pytest.raises(ClientClosedError):
            flow.execute("x")
    assert server.connections == 0


@pytest.mark.parametrize("timeout", [float("inf"), 1e12])
def test_a_timeout_may_be_as_long_as_one_likes(kind: str, server: Server, timeout: float) -> None:
    assert isinstance(outcome(kind, server.url, timeout=timeout, pool_timeout=timeout), ExecuteResult)

    async def run() -> int:
        async with AsyncNoukai("nk_x", base_url=server.url) as client:
            return len([event async for event in client.flow("a/b/c").events(timeout=timeout)])

    server.answer = three_steps
    if kind == "async":
        assert asyncio.run(run()) == 9
    else:
        with Noukai("nk_x", base_url=server.url) as client:
            assert len(list(client.flow("a/b/c").events(timeout=timeout))) == 9


def test_several_event_loops_at_once(server: Server) -> None:
    client = AsyncNoukai("nk_x", base_url=server.url)

    def run(_: int) -> Any:
        return asyncio.run(client.flow("a/b/c").execute("x"))

    with ThreadPoolExecutor(4) as threads:
        assert all(isinstance(answer, ExecuteResult) for answer in threads.map(run, range(12)))


def test_a_body_of_more_than_a_megabyte_is_sent_without_a_warning(kind: str, server: Server) -> None:
    received: list[int] = []

    async def measure(call: Call) -> None:
        received.append(len(call.body["message"]))
        await result(call)

    server.answer = measure

    async def run() -> None:
        async with AsyncNoukai("nk_x", base_url=server.url) as client:
            await client.flow("a/b/c").execute("x" * 3_000_000)

    if kind == "async":
        asyncio.run(run())
    else:
        with Noukai("nk_x", base_url=server.url) as client:
            client.flow("a/b/c").execute("x" * 3_000_000)
    assert received == [3_000_000]


def test_a_server_that_does_not_read_is_not_waited_for_for_ever(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"

        async def run() -> Any:
            async with AsyncNoukai("nk_x", base_url=url, max_retries=0, timeout=0.2) as client:
                return await asyncio.wait_for(client.flow("a/b/c").execute("x" * 20_000_000), 10)

        with (
            Noukai("nk_x", base_url=url, max_retries=0, timeout=0.2) as client,
            pytest.raises(APITimeoutError) as caught,
        ):
            asyncio.run(run()) if kind == "async" else client.flow("a/b/c").execute("x" * 20_000_000)
    assert caught.value.sent is True


def test_polls_have_no_body(kind: str) -> None:
    asked: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(65536))
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{"status": "completed"}')

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()

        async def run() -> Any:
            async with AsyncNoukai("nk_x", base_url=url) as client:
                return await client.flow("a/b/c").job("e").poll()

        with Noukai("nk_x", base_url=url) as client:
            status = asyncio.run(run()) if kind == "async" else client.flow("a/b/c").job("e").poll()
        thread.join(10)
    assert status.status == "completed"
    assert asked[0].startswith(b"GET /api/v1/seq/a/b/c/jobs/e HTTP/1.1\r\n")
    assert b"content-" not in asked[0].lower()


def test_closing_an_async_client_ends_its_streams_and_those_who_wait(server: Server) -> None:
    async def run() -> None:
        client = AsyncNoukai("nk_x", base_url=server.url, max_connections=1)
        server.answer, server.is_watching = endless, True
        stream = client.flow("a/b/c").events()
        await anext(stream)
        waiting = asyncio.ensure_future(client.flow("a/b/c").execute("x"))
        await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(StreamInterruptedError):
            await anext(stream)
        with pytest.raises(ClientClosedError) as caught:
            await asyncio.wait_for(waiting, 10)
        assert caught.value.sent is False

    asyncio.run(run())


def test_a_reader_who_takes_longer_than_the_timeout_is_not_silence(server: Server) -> None:
    async def two_parts(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        await asyncio.to_thread(continued.wait, 10)
        await call.frames("flow_completed")
        await call.write(END)

    async def run() -> list[str]:
        async with AsyncNoukai("nk_x", base_url=server.url, timeout=0.1) as client:
            stream = client.flow("a/b/c").events()
            seen = [(await anext(stream)).event_type]
            await asyncio.sleep(0.3)
            continued.set()
            return seen + [event.event_type async for event in stream]

    continued = threading.Event()
    server.answer = two_parts
    assert asyncio.run(run()) == ["run_started", "flow_completed"]


def test_a_request_s_end_leaves_its_connection_to_the_next(kind: str, server: Server) -> None:
    async def whole(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started", "flow_completed")
        await call.write(END)

    server.answer = whole
    assert play(kind, server, times=3) == ["run_started", "flow_completed"] * 3
    assert server.connections == 1
