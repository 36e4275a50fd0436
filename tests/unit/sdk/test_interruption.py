"""Another thread ends a call wherever it is blocked: the server sees it go, the pool and other calls are as before."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import pickle
import random
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from noukai_sdk import (
    APITimeoutError,
    CallInterruptedError,
    Checkpoint,
    ExecuteResult,
    Interruption,
    Noukai,
    RelayFlow,
    StepCompleted,
    StreamTimeoutError,
)
from noukai_sdk._http import senders
from tests.support.sockets import END, HEAD, Call, Server, Tunnel, never

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


async def silence(_: Call) -> None:
    await never()


async def half_of_it(call: Call) -> None:
    await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await never()


async def half_of_a_chunk(call: Call) -> None:
    await call.write(HEAD + b"10\r\n{")
    await never()


async def without_length(call: Call) -> None:
    # Whole JSON, though the end has not come: cut off here it would be taken for the answer.
    await call.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + RESULT)
    await never()


async def half_of_an_error(call: Call) -> None:
    await call.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\n{")
    await never()


async def one_frame(call: Call) -> None:
    await call.write(HEAD)
    await call.frames("run_started")
    await never()


def execute(client: Noukai) -> Any:
    return client.flow("a/b/c").execute("x")


def events(client: Noukai) -> Any:
    return list(client.flow("a/b/c").events("x"))


def poll(client: Noukai) -> Any:
    return client.flow("a/b/c").job("e").poll()


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

    def waits_for(self, kind: str) -> bool:
        waits = [watch._wait for watch in tuple(self.interruption._watches)]
        return any(type(wait).__name__ == kind for wait in waits)

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


class Arrivals:
    """Answers each request as told, and tells when one has come."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.came = threading.Semaphore(0)
        self.number = 0

    async def __call__(self, call: Call) -> None:
        self.number += 1
        self.came.release()
        await self._answer(call)


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
def pool_of_one(url: str, **options: Any) -> Iterator[Noukai]:
    options = {"max_connections": 1, "max_retries": 0, **options}
    with Noukai("nk_x", base_url=url, **options) as client:
        yield client


def check_the_pool(client: Noukai, server: Server) -> None:
    """Its one place has come back, and what it holds works."""
    server.answer, server.is_watching = result, False
    for _ in range(2):
        assert execute(client).output == 1


READING = [
    pytest.param(execute, silence, id="execute, before the head"),
    pytest.param(execute, half_of_it, id="execute, in the body"),
    pytest.param(execute, half_of_a_chunk, id="execute, in a chunk"),
    pytest.param(execute, without_length, id="execute, in a body without length"),
    pytest.param(execute, half_of_an_error, id="execute, in an error"),
    pytest.param(poll, silence, id="poll, before the head"),
    pytest.param(poll, half_of_it, id="poll, in the body"),
    pytest.param(events, silence, id="events, before the head"),
    pytest.param(events, half_of_an_error, id="events, in an error"),
    pytest.param(events, one_frame, id="events, between frames"),
]


@pytest.mark.parametrize("kept_alive", [False, True])
@pytest.mark.parametrize(("call", "answer"), READING)
def test_waiting_for_the_answer(server: Server, call: Any, answer: Any, kept_alive: bool) -> None:
    with pool_of_one(server.url) as client:
        if kept_alive:
            server.answer, server.is_watching = result, False
            execute(client)
            server.answer = arrived = Arrivals(_watched(answer))
        else:
            server.answer = arrived = Arrivals(answer)
        caller = Caller(lambda: call(client))
        assert arrived.came.acquire(timeout=10)
        until(lambda: caller.waits_for("Line"))
        if answer is not silence:
            _let_it_arrive()
        error = caller.interrupted()
        assert error.sent is True
        assert server.closed.acquire(timeout=10)
        assert arrived.number == 1
        check_the_pool(client, server)


def _watched(answer: Any) -> Any:
    """An answer that is given up when its connection ends, on a server that keeps connections."""

    async def answer_until_gone(call: Call) -> None:
        task = asyncio.ensure_future(answer(call))
        while not call.writer.transport.is_closing() and not call.writer.transport._eof_seen:
            await asyncio.sleep(0.01)
        task.cancel()

    return answer_until_gone


def _let_it_arrive() -> None:
    # Nothing on this side tells that the first bytes are read; either way the call must end.
    time.sleep(0.05)
