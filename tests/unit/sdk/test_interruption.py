"""Another thread ends a call wherever it is blocked: the server sees it go, the pool and other calls are as before."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import gc
import json
import pickle
import random
import signal
import socket
import ssl
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from noukai_sdk import (
    APIConnectionError,
    APITimeoutError,
    CallInterruptedError,
    Checkpoint,
    Interruption,
    Noukai,
    NoukaiError,
    RelayFlow,
    StreamTimeoutError,
)
from noukai_sdk._http import senders
from noukai_sdk._http.connections import Pool, present
from noukai_sdk._http.lines import ForeignLine
from noukai_sdk._interruption import Watch
from tests.support.sockets import HEAD, Call, Server, Tunnel, never

RESULT = json.dumps({"status": "completed", "result": 1, "flowId": "F", "blockCount": 1}).encode()
PAUSED = json.dumps(
    {
        "status": "tool_calls_required",
        "executionId": "E",
        "pausedAtStep": "s",
        "toolCallMessages": [],
        "toolCalls": [{"id": "1"}],
    }
).encode()


async def answer_with(call: Call, body: bytes, status: bytes = b"200 OK", more: bytes = b"") -> None:
    await call.write(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, more, len(body), body))


async def result(call: Call) -> None:
    await answer_with(call, RESULT)


class Half:
    """Writes the beginning of an answer, and tells when it is under way; the rest never comes."""

    def __init__(self, *beginning: bytes, frame: str | None = None) -> None:
        self._beginning, self._frame = b"".join(beginning), frame
        self.came = threading.Semaphore(0)
        self.requests = 0

    async def __call__(self, call: Call) -> None:
        self.requests += 1
        if self._beginning:
            await call.write(self._beginning)
        if self._frame is not None:
            await call.frames(self._frame)
        self.came.release()
        await never()


NOTHING: tuple[bytes, ...] = ()
BODY = (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",)
CHUNK = (HEAD, b"10\r\n{")
ERROR = (b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\n{",)
# Whole JSON, though the end has not come: cut off here it would be taken for the answer.
WITHOUT_LENGTH = (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", RESULT)


def execute(client: Noukai) -> Any:
    return client.flow("a/b/c").execute("x")


def events(client: Noukai) -> Any:
    return list(client.flow("a/b/c").events("x"))


def submit(client: Noukai) -> Any:
    return client.flow("a/b/c").execute_async("x")


def poll(client: Noukai) -> Any:
    return client.flow("a/b/c").job("e").poll()


def wait(client: Noukai) -> Any:
    return client.flow("a/b/c").job("e").wait()


def trace(client: Noukai) -> Any:
    return client.flow("a/b/c").run("e").trace()


def live_trace(client: Noukai) -> Any:
    return list(client.flow("a/b/c").run("e").live_trace())


class Caller:
    """A thread that makes one covered call."""

    def __init__(self, call: Callable[[], Any], *interruptions: Interruption) -> None:
        self.interruption = interruptions[-1] if interruptions else Interruption()
        self._covering = interruptions or (self.interruption,)
        self._outcome: Future[Any] = Future()
        self._call = call
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                for interruption in self._covering:
                    stack.enter_context(interruption.covers())
                self._outcome.set_result(self._call())
        except BaseException as error:
            self._outcome.set_exception(error)

    def waits_for(self, kind: str) -> Any:
        """What it has come to wait for, if it is of this kind."""
        waits = [watch._wait for watch in tuple(self.interruption._watches)]
        return next((wait for wait in waits if type(wait).__name__ == kind), None)

    def has_read_all(self) -> bool:
        line, unread = self.waits_for("Line"), array.array("i", [1])
        if line is not None and line._socket is not None:
            fcntl.ioctl(line._socket, termios.FIONREAD, unread)
        return unread[0] == 0

    def interrupted(self) -> CallInterruptedError:
        """Interrupt it; the error that comes, at once."""
        self.interruption.interrupt()
        began = time.monotonic()
        with pytest.raises(CallInterruptedError) as caught:
            self._outcome.result(5)
        assert time.monotonic() - began < 2
        assert caught.value.code == "INTERRUPTED_CLIENT"
        return caught.value

    def result(self) -> Any:
        return self._outcome.result(10)


def until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_at, "it did not come to this"
        time.sleep(0.001)


def open_files() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        running.is_watching = True
        yield running


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[trustme.CA]:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    senders.tls_context.cache_clear()
    yield made
    senders.tls_context.cache_clear()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Server]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with Server(tls=tls) as running:
        running.is_watching = True
        yield running


@contextlib.contextmanager
def pool_of_one(at: Any, scheme: str = "http", host: str = "127.0.0.1", **options: Any) -> Iterator[Noukai]:
    """A client with one connection, to a server, a listener or a port."""
    port = at.port if isinstance(at, Server) else at if isinstance(at, int) else at.getsockname()[1]
    options = {"max_connections": 1, "max_retries": 0, **options}
    with Noukai("nk_x", base_url=f"{scheme}://{host}:{port}/api/v1", **options) as client:
        yield client


def check_the_pool(client: Noukai, server: Server) -> None:
    """Its one place has come back, and what it holds works."""
    server.answer, server.is_watching = result, False
    for _ in range(2):
        assert execute(client).output == 1


def answer_half(server: Server, *beginning: bytes, frame: str | None = None) -> Half:
    half = Half(*beginning, frame=frame)
    server.answer, server.is_watching = half, True
    return half


@contextlib.contextmanager
def full_listener() -> Iterator[int]:
    """A port that nobody gets connected with: its owner accepts nobody, and there is no more room to wait for it."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = listener.getsockname()[1]
        for filler in [stack.enter_context(socket.socket()) for _ in range(4)]:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        yield port


def gone(connection: socket.socket) -> None:
    """The other side has hung up: there is an end to what comes from it."""
    connection.settimeout(10)
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(1 << 20):
            pass


def failure(call: Callable[[], Any]) -> NoukaiError:
    with pytest.raises(NoukaiError) as caught:
        call()
    return caught.value


def connecting_to(port: int) -> int:
    """How many connections of this machine wait to be answered there (state SYN_SENT in /proc/net/tcp)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


async def brief(call: Call) -> None:
    await asyncio.sleep(0.002)
    await result(call)


READING = [
    pytest.param(execute, NOTHING, id="execute, before the head"),
    pytest.param(execute, BODY, id="execute, in the body"),
    pytest.param(execute, CHUNK, id="execute, in a chunk"),
    pytest.param(execute, WITHOUT_LENGTH, id="execute, in a body without length"),
    pytest.param(execute, ERROR, id="execute, in an error"),
    pytest.param(submit, NOTHING, id="execute_async, before the head"),
    pytest.param(poll, BODY, id="poll, in the body"),
    pytest.param(wait, NOTHING, id="wait, before the head"),
    pytest.param(trace, NOTHING, id="trace, before the head"),
    pytest.param(events, NOTHING, id="events, before the head"),
    pytest.param(events, ERROR, id="events, in an error"),
    pytest.param(events, (HEAD,), id="events, before the first frame"),
    pytest.param(live_trace, (HEAD,), id="live_trace, before the first frame"),
]


@pytest.mark.parametrize("is_reused", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize(("call", "beginning"), READING)
def test_waiting_for_the_answer(server: Server, call: Any, beginning: tuple[bytes, ...], is_reused: bool) -> None:
    with pool_of_one(server) as client:
        if is_reused:
            check_the_pool(client, server)
        half = answer_half(server, *beginning)
        caller = Caller(lambda: call(client))
        assert half.came.acquire(timeout=10)
        until(caller.has_read_all)
        assert caller.interrupted().sent is True
        assert server.closed.acquire(timeout=10)
        assert (half.requests, server.connections) == (1, 1)
        check_the_pool(client, server)


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_stream_between_two_events(server: Server, timeout: float | None) -> None:
    seen: list[str] = []

    def iterate(client: Noukai) -> None:
        checkpoint = Checkpoint("E", 1, {"s0": 1})
        with client.flow("a/b/c").events("x", checkpoint=checkpoint, timeout=timeout) as stream:
            seen.extend(event.event_type for event in stream)

    with pool_of_one(server) as client:
        half = answer_half(server, HEAD, frame="step_completed")
        caller = Caller(lambda: iterate(client))
        assert half.came.acquire(timeout=10)
        until(lambda: seen == ["step_completed"] and caller.has_read_all())
        error = caller.interrupted()
        assert error.sent is True
        assert error.checkpoint == Checkpoint("E", 2, {"s0": 1, "s1": 1})
        assert server.closed.acquire(timeout=10)
        check_the_pool(client, server)


def test_a_stream_that_was_opened_outside_is_ended_inside(server: Server) -> None:
    with pool_of_one(server) as client:
        half = answer_half(server, HEAD, frame="run_started")
        stream = client.flow("a/b/c").events("x")
        assert next(stream).event_type == "run_started"
        caller = Caller(lambda: next(stream))
        assert half.came.acquire(timeout=10)
        until(caller.has_read_all)
        caller.interrupted()
        assert server.closed.acquire(timeout=10)
        check_the_pool(client, server)


def test_a_stream_that_is_over_is_not_waited_for(server: Server) -> None:
    # All frames are there, only the end of the body is not: a second is spent on that, as it frees the connection.
    async def endless(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started", "flow_completed")
        await never()

    with pool_of_one(server) as client:
        server.answer = endless
        stream = client.flow("a/b/c").events("x")
        seen = [next(stream), next(stream)]
        caller = Caller(lambda: list(stream))
        until(lambda: caller.waits_for("Line"))
        caller.interruption.interrupt()
        began = time.monotonic()
        assert caller.result() == []
        assert time.monotonic() - began < 0.5
        assert [event.event_type for event in seen] == ["run_started", "flow_completed"]
        assert server.closed.acquire(timeout=10)
        check_the_pool(client, server)


def test_waiting_for_a_connection(server: Server) -> None:
    with pool_of_one(server) as client:
        opened = threading.Event()

        async def gated(call: Call) -> None:
            half.came.release()
            await asyncio.to_thread(opened.wait, 10)
            await result(call)

        half = Half()
        server.answer, server.is_watching = gated, False
        other = Caller(lambda: execute(client))
        assert half.came.acquire(timeout=10)
        waiting = [Caller(partial(call, client)) for call in (execute, events)]
        neighbour = Caller(lambda: execute(client))
        for caller in (*waiting, neighbour):
            until(lambda caller=caller: caller.waits_for("_Turn"))
        for caller in waiting:
            assert caller.interrupted().sent is False
        opened.set()
        assert other.result().output == neighbour.result().output == 1
        assert server.connections == 1
        check_the_pool(client, server)


def test_looking_the_name_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up, answered = socket.getaddrinfo, threading.Event()

    def slow(host: str, *arguments: Any, **options: Any) -> Any:
        if not options.get("flags"):
            answered.wait(10)
        return look_up(host, *arguments, **options)

    with pool_of_one(server, host="localhost") as client:
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        caller = Caller(lambda: execute(client))
        until(lambda: caller.waits_for("_Lookup"))
        assert caller.interrupted().sent is False
        answered.set()
        until(lambda: not any(thread.name == "noukai-lookup" for thread in threading.enumerate()))
        assert server.connections == 0
        check_the_pool(client, server)
        # A name that is found, and one that is not.
        assert Caller(lambda: execute(client)).result().output == 1


def test_a_name_that_does_not_exist_is_told_as_ever() -> None:
    with Noukai("nk_x", base_url="https://noukai.invalid/api/v1", max_retries=0) as client:
        told = [failure(lambda: execute(client)), failure(lambda: Caller(lambda: execute(client)).result())]
    assert type(told[0]) is type(told[1]) is APIConnectionError
    assert all("[Errno -2] Name or service not known" in str(error) and not error.sent for error in told)


def test_connecting() -> None:
    with full_listener() as port, pool_of_one(port) as client:
        files = open_files()
        caller = Caller(lambda: execute(client))
        until(lambda: caller.waits_for("OpeningLine"))
        until(lambda: connecting_to(port) > 0)
        assert caller.interrupted().sent is False
        assert open_files() == files
        # The place is back: the next one comes to connect, too.
        second = Caller(lambda: execute(client))
        until(lambda: second.waits_for("OpeningLine"))
        second.interrupted()


def test_a_connect_keeps_its_timeout_and_tells_a_refusal(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pool_of_one(port) as client:
        told = [failure(lambda: execute(client)), failure(lambda: Caller(lambda: execute(client)).result())]
    assert type(told[0]) is type(told[1]) is APIConnectionError
    assert all("refused" in str(error) and not error.sent for error in told)
    with full_listener() as port, pool_of_one(port, timeout=0.2) as client:
        late = failure(lambda: Caller(lambda: execute(client)).result())
    assert type(late) is APITimeoutError
    assert late.sent is False


def test_the_tls_handshake(authority: trustme.CA) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pool_of_one(listener, scheme="https") as client:
        files = open_files()
        caller = Caller(lambda: execute(client))
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(3) == b"\x16\x03\x01"  # a ClientHello
            assert caller.interrupted().sent is False
            gone(connection)
        assert open_files() == files


def test_a_proxy_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with Noukai("nk_x", base_url="https://noukai.invalid/api/v1", max_retries=0) as client:
            caller = Caller(lambda: execute(client))
            connection, _ = proxy.accept()
            with connection:
                assert connection.recv(7) == b"CONNECT"
                assert caller.interrupted().sent is False
                gone(connection)


@pytest.mark.parametrize("call", [execute, events])
def test_over_tls(tls_server: Server, call: Any) -> None:
    with pool_of_one(tls_server, scheme="https") as client:
        half = answer_half(tls_server, *(BODY if call is execute else (HEAD,)))
        caller = Caller(lambda: call(client))
        assert half.came.acquire(timeout=10)
        until(caller.has_read_all)
        assert caller.interrupted().sent is True
        assert tls_server.closed.acquire(timeout=10)
        check_the_pool(client, tls_server)


@pytest.mark.parametrize("is_secret", [False, True], ids=["http", "https"])
def test_through_a_proxy(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, is_secret: bool) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "noukai.invalid").configure_cert(tls)
    with Server(tls=tls) as far, Tunnel(far.port, tls=tls if is_secret else None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with Noukai("nk_x", base_url="https://noukai.invalid/api/v1", max_connections=1, max_retries=0) as client:
            half = answer_half(far, *BODY)
            caller = Caller(lambda: execute(client))
            assert half.came.acquire(timeout=10)
            until(lambda: caller.waits_for("Line"))
            assert caller.interrupted().sent is True
            assert far.closed.acquire(timeout=10)
            check_the_pool(client, far)


def test_a_connection_of_http_2_is_left_to_the_other_calls() -> None:
    ours, theirs = socket.socketpair()

    class TLS:
        def __init__(self, protocol: str) -> None:
            self._protocol = protocol

        def selected_alpn_protocol(self) -> str:
            return self._protocol

    class Stream:
        """What httpx gives of a connection."""

        def __init__(self, tls: TLS | None) -> None:
            self.get_extra_info = {"ssl_object": tls, "socket": ours}.get

    with ours, theirs:
        theirs.settimeout(10)
        shared = ForeignLine(Stream(TLS("h2")))
        shared.end()
        assert not shared.was_shut
        ours.send(b"x")
        assert theirs.recv(1) == b"x"
        own = ForeignLine(Stream(TLS("http/1.1")))
        own.end()
        assert own.was_shut
        assert theirs.recv(1) == b""


def test_sending() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pool_of_one(listener) as client:
        files = open_files()
        caller = Caller(lambda: client.flow("a/b/c").execute("x" * 50_000_000))
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(4) == b"POST"
            until(lambda: caller.waits_for("Line"))
            assert caller.interrupted().sent is True
            gone(connection)
        assert open_files() == files


@pytest.mark.parametrize(
    ("call", "status", "wait"),
    [
        (execute, b"429 Later", b"Retry-After: 30\r\n"),
        (events, b"503 Later", b"Retry-After: 30\r\n"),
        (poll, b"429 Later", b"Retry-After: 30\r\n"),
    ],
)
def test_between_retries(server: Server, call: Any, status: bytes, wait: bytes) -> None:
    async def later(request: Call) -> None:
        await answer_with(request, b"{}", status, wait)

    server.answer, server.is_watching = later, False
    with pool_of_one(server, max_retries=3) as client:
        caller = Caller(lambda: call(client))
        until(lambda: caller.waits_for("_Nap"))
        assert caller.interrupted().sent is True
        check_the_pool(client, server)
        assert server.connections == 1


def test_between_retries_of_what_was_never_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pool_of_one(port, max_retries=30) as client:
        caller = Caller(lambda: execute(client))
        until(lambda: caller.waits_for("_Nap"))
        assert caller.interrupted().sent is False


def test_between_polls(server: Server) -> None:
    async def running(call: Call) -> None:
        await answer_with(call, b'{"executionId": "e", "status": "running"}')

    server.answer, server.is_watching = running, False
    with pool_of_one(server) as client:
        caller = Caller(lambda: client.flow("a/b/c").job("e").wait(poll_interval=30))
        until(lambda: caller.waits_for("_Nap"))
        caller.interrupted()
        check_the_pool(client, server)


def test_between_tool_rounds(server: Server) -> None:
    asked, answered, requests = threading.Event(), threading.Event(), []

    def handler(_: Any) -> list[dict[str, Any]]:
        asked.set()
        answered.wait(10)
        return []

    async def paused(call: Call) -> None:
        requests.append(call.body)
        await answer_with(call, PAUSED)

    server.answer, server.is_watching = paused, False
    with pool_of_one(server) as client:
        caller = Caller(lambda: client.flow("a/b/c").execute("x", tool_handler=handler))
        assert asked.wait(10)
        caller.interruption.interrupt()
        answered.set()
        assert caller.interrupted().sent is True
        assert len(requests) == 1
        check_the_pool(client, server)


def test_no_other_address_is_tried_then(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with full_listener() as full, pool_of_one(server) as client:
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in (full, server.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        caller = Caller(lambda: execute(client))
        until(lambda: caller.waits_for("OpeningLine"))
        caller.interrupted()
        assert server.connections == 0
        # Refused by the first, it is answered by the second.
        addresses[0] = (*addresses[0][:4], ("127.0.0.1", 1))
        server.answer, server.is_watching = result, False
        assert Caller(lambda: execute(client)).result().output == 1


class Waits(Watch):
    """Keeps all that it is told of."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def __call__(self, wait: Any) -> None:
        self.all.append(wait)
        super().__call__(wait)


@pytest.mark.parametrize(
    ("head", "is_kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", True),
        (b"HTTP/1.1 204 No\r\n\r\n", True),
        (HEAD + b"1\r\n1\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1", False),
    ],
)
def test_an_end_that_comes_late_shuts_nothing(server: Server, head: bytes, is_kept: bool) -> None:
    # What a call waited at may serve another one by then, be it a kept connection or the number of a closed file.
    async def answer(call: Call) -> None:
        await call.write(head)

    server.answer, server.is_watching = answer, False
    transport = senders.thread_transport(server.url, 1)
    for number in range(1, 4):
        waits = Waits()
        request = httpx.Request("GET", server.url, extensions={"watch": waits})
        with contextlib.suppress(httpx.TransportError), contextlib.closing(transport.handle_request(request)) as reply:
            reply.read()
        lines = [wait for wait in waits.all if hasattr(wait, "was_shut")]
        assert lines
        for line in lines:
            line.end()
        assert not any(line.was_shut for line in lines)
        assert server.connections == (1 if is_kept else number)
    transport.close()


def test_a_place_that_comes_together_with_the_end_is_not_lost() -> None:
    # Whoever gives a place back wakes one who waits, and nobody else.
    places, waits, got = Pool.QueueCls(1), Waits(), []

    def take() -> None:
        present.watch = waits
        got.append(places.get(timeout=10))

    thread = threading.Thread(target=take)
    thread.start()
    until(lambda: places.not_empty._waiters)
    with places.mutex:
        places.put("place")
        waits.end()
    thread.join(10)
    assert got == ["place"]


@pytest.mark.parametrize("call", [execute, events, poll, wait, submit])
def test_an_interruption_that_came_first(server: Server, call: Any) -> None:
    interruption = Interruption()
    interruption.interrupt()
    assert interruption.interrupted
    with pool_of_one(server) as client:
        assert Caller(lambda: call(client), interruption).interrupted().sent is False
        with interruption.covers(), pytest.raises(CallInterruptedError):
            call(client)
        assert server.connections == 0
        check_the_pool(client, server)


@pytest.mark.parametrize("is_reused", [False, True], ids=["new", "reused"])
@pytest.mark.parametrize("call", [execute, events, poll])
def test_an_interruption_just_before_sending(server: Server, call: Any, is_reused: bool) -> None:
    interruption = Interruption()
    calls: list[dict[str, Any]] = []

    def interrupt(event: dict[str, Any]) -> None:
        calls.append(event)
        if len(calls) == (5 if is_reused else 1):
            interruption.interrupt()

    with pool_of_one(server, log_handler=interrupt) as client:
        if is_reused:
            check_the_pool(client, server)
        half = answer_half(server)
        assert Caller(lambda: call(client), interruption).interrupted().sent is False
        assert half.requests == 0
        check_the_pool(client, server)


def test_a_call_that_is_over_is_not_taken_back(server: Server) -> None:
    server.answer, server.is_watching = result, False
    interruption = Interruption()
    with pool_of_one(server) as client, interruption.covers():
        assert execute(client).output == 1
        interruption.interrupt()
    check_the_pool(client := Noukai("nk_x", base_url=server.url), server)
    client.close()


@pytest.mark.parametrize("which", [0, 1])
def test_blocks_may_be_nested(server: Server, which: int) -> None:
    nested = Interruption(), Interruption()
    with pool_of_one(server) as client:
        half = answer_half(server)
        caller = Caller(lambda: execute(client), *nested)
        assert half.came.acquire(timeout=10)
        caller.interruption = nested[which]
        caller.interrupted()
        assert server.closed.acquire(timeout=10)
        assert [interruption.interrupted for interruption in nested] == [which == 0, which == 1]
        check_the_pool(client, server)
    assert not any(interruption._watches for interruption in nested)


def test_a_block_ends_where_it_ends(server: Server) -> None:
    interruption = Interruption()
    with pool_of_one(server) as client:
        with interruption.covers() as same, interruption.covers():
            assert same is interruption
        interruption.interrupt()
        check_the_pool(client, server)


def test_a_thread_with_a_copy_of_the_context_is_covered(server: Server) -> None:
    interruption = Interruption()

    async def run(client: Noukai) -> None:
        with interruption.covers():
            calls = [asyncio.ensure_future(asyncio.to_thread(execute, client)) for _ in range(3)]
        for _ in calls:
            assert await asyncio.to_thread(half.came.acquire, timeout=10)
        interruption.interrupt()
        for call in calls:
            with pytest.raises(CallInterruptedError):
                await asyncio.wait_for(call, 5)

    half = answer_half(server)
    with Noukai("nk_x", base_url=server.url) as client:
        asyncio.run(run(client))
        for _ in range(3):
            assert server.closed.acquire(timeout=10)


def test_a_signal_handler_interrupts_its_own_thread(server: Server) -> None:
    main, interruption = threading.main_thread().ident, Interruption()
    assert main is not None
    half = answer_half(server)

    def send_signal() -> None:
        half.came.acquire(timeout=10)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: interruption.interrupt())
    try:
        with pool_of_one(server) as client:
            thread = threading.Thread(target=send_signal)
            thread.start()
            with interruption.covers(), pytest.raises(CallInterruptedError):
                execute(client)
            thread.join(10)
            check_the_pool(client, server)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_error_survives_pickle() -> None:
    error = CallInterruptedError("x", code="INTERRUPTED_CLIENT", sent=False, execution_id="E")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.__dict__) == (CallInterruptedError, error.__dict__)


def test_others_are_never_touched(server: Server) -> None:
    """Interruptions at any moment, in a pool that is too small for all: uncovered calls do not notice, nothing is lost."""
    server.answer, server.is_watching = brief, False
    ends_at = time.monotonic() + 20

    def undisturbed(client: Noukai) -> int:
        return sum(execute(client).output for _ in range(150))

    def interrupted(client: Noukai) -> int:
        chance, count = random.Random(threading.get_ident()), 0
        for _ in range(150):
            assert time.monotonic() < ends_at
            interruption = Interruption()
            timer = threading.Timer(chance.uniform(0, 0.04), interruption.interrupt)
            timer.start()
            with interruption.covers():
                try:
                    execute(client)
                except CallInterruptedError:
                    count += 1
            timer.join()
        return count

    with Noukai("nk_x", base_url=server.url, max_connections=4, max_retries=0) as client:
        files = open_files()
        with ThreadPoolExecutor(8) as threads:
            calm = [threads.submit(undisturbed, client) for _ in range(4)]
            ended = [threads.submit(interrupted, client) for _ in range(4)]
            assert [call.result() for call in calm] == [150] * 4
            # Otherwise nothing was tried.
            assert 50 < sum(call.result() for call in ended) < 590
        check_the_pool(client, server)
        places = client._connection.sender._transport._pools.connection_from_url(server.url).pool
        assert places.qsize() == 4
    until(lambda: open_files() <= files)


# With a client of the user's: what httpx lets us know.


@pytest.mark.parametrize(("call", "beginning"), READING)
def test_a_connection_that_httpx_opened_for_the_call(server: Server, call: Any, beginning: tuple[bytes, ...]) -> None:
    with httpx.Client() as http, pool_of_one(server, http_client=http) as client:
        half = answer_half(server, *beginning)
        caller = Caller(lambda: call(client))
        assert half.came.acquire(timeout=10)
        until(lambda: caller.waits_for("ForeignLine"))
        assert caller.interrupted().sent is True
        assert server.closed.acquire(timeout=10)
        check_the_pool(client, server)


def test_a_connection_that_httpx_reuses_once_the_head_has_come(server: Server) -> None:
    with httpx.Client() as http, pool_of_one(server, http_client=http) as client:
        check_the_pool(client, server)
        half = answer_half(server, *BODY)
        caller = Caller(lambda: execute(client))
        assert half.came.acquire(timeout=10)
        until(lambda: caller.waits_for("ForeignLine"))
        assert caller.interrupted().sent is True
        assert server.closed.acquire(timeout=10)
        check_the_pool(client, server)


def test_a_connection_that_httpx_reuses_before_the_head_ends_with_its_timeout(server: Server) -> None:
    with httpx.Client() as http, pool_of_one(server, http_client=http, timeout=0.3) as client:
        check_the_pool(client, server)
        half = answer_half(server)
        caller = Caller(lambda: execute(client))
        assert half.came.acquire(timeout=10)
        assert caller.interrupted().sent is True


def test_nothing_is_sent_by_httpx_after_an_interruption(server: Server) -> None:
    limits = httpx.Limits(max_connections=1)
    with httpx.Client(limits=limits) as http, pool_of_one(server, http_client=http) as client:
        opened = threading.Event()

        async def gated(call: Call) -> None:
            half.requests += 1
            half.came.release()
            await asyncio.to_thread(opened.wait, 10)
            await result(call)

        half = Half()
        server.answer, server.is_watching = gated, False
        other = Caller(lambda: execute(client))
        assert half.came.acquire(timeout=10)
        caller = Caller(lambda: execute(client))
        until(lambda: caller.interruption._watches)
        caller.interruption.interrupt()
        opened.set()
        assert caller.interrupted().sent is False
        assert other.result().output == 1
        assert half.requests == 1


def test_a_relay_s_call(server: Server) -> None:
    with RelayFlow(server.url) as relay:
        half = answer_half(server, *BODY)
        caller = Caller(lambda: relay.execute("x"))
        assert half.came.acquire(timeout=10)
        until(caller.has_read_all)
        assert caller.interrupted().sent is True
        assert server.closed.acquire(timeout=10)
        server.answer = result
        assert relay.execute("x").output == 1


# The same mechanism keeps deadlines.


def test_a_stream_s_deadline_holds_while_its_name_is_looked_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up, answered = socket.getaddrinfo, threading.Event()

    def slow(host: str, *arguments: Any, **options: Any) -> Any:
        if not options.get("flags"):
            answered.wait(10)
        return look_up(host, *arguments, **options)

    with pool_of_one(server, host="localhost") as client:
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        error = failure(lambda: list(client.flow("a/b/c").events("x", timeout=0.2)))
        answered.set()
    assert type(error) is StreamTimeoutError
    assert (error.code, error.sent) == ("DEADLINE_CLIENT", False)
