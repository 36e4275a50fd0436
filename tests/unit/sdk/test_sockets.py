"""What only shows on a socket: connection reuse, cut and silent connections, deadlines, quiet teardown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import httpx_aiohttp
import pytest

from noukai_sdk import (
    APIConnectionError,
    APITimeoutError,
    AsyncNoukai,
    Checkpoint,
    Noukai,
    NoukaiError,
    StreamInterruptedError,
    StreamTimeoutError,
)
from noukai_sdk._drive import streams
from tests.support.sockets import END, HEAD, Call, Server, never, three_steps


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def collect(kind: str, server: Server, *, client: dict[str, Any] | None = None, **kwargs: Any) -> tuple[list[Any], Any]:
    """The types that came, and the error, of one stream through one of three clients."""
    options = {"base_url": server.url, "max_retries": 0, **(client or {})}
    types: list[str] = []
    try:
        if kind.startswith("sync"):
            with sync_client(kind, options) as noukai:
                types.extend(event.event_type for event in noukai.flow("a/b/c").events(**kwargs))
        else:
            asyncio.run(_collect(kind, options, kwargs, types))
    except NoukaiError as error:
        return types, error
    return types, None


@contextlib.contextmanager
def sync_client(kind: str, options: dict[str, Any]) -> Iterator[Noukai]:
    if kind == "sync-httpx":
        with httpx.Client() as http:
            yield Noukai("nk_x", http_client=http, **options)
    else:
        with Noukai("nk_x", **options) as noukai:
            yield noukai


@contextlib.asynccontextmanager
async def async_client(kind: str, options: dict[str, Any]) -> Any:
    if kind in {"async-aiohttp", "async-httpx"}:
        transport = httpx_aiohttp.AiohttpTransport() if kind == "async-aiohttp" else None
        async with httpx.AsyncClient(transport=transport) as http:
            yield AsyncNoukai("nk_x", http_client=http, **options)
            await asyncio.sleep(0)  # aiohttp closes its sockets one turn later
    else:
        async with AsyncNoukai("nk_x", **options) as noukai:
            yield noukai


async def _collect(kind: str, options: dict[str, Any], kwargs: dict[str, Any], types: list[str]) -> None:
    async with async_client(kind, options) as noukai:
        async for event in noukai.flow("a/b/c").events(**kwargs):
            types.append(event.event_type)  # noqa: PERF401 -- what came before an error counts


@pytest.fixture(params=["sync", "sync-httpx", "async", "async-httpx", "async-aiohttp"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_one_connection_serves_all_steps(kind: str, server: Server) -> None:
    types, error = collect(kind, server)
    assert error is None
    assert types == ["run_started", "step_completed", "step_paused"] * 2 + [
        "run_started",
        "step_completed",
        "flow_completed",
    ]
    assert server.connections == 1


def test_leaving_at_the_last_event_keeps_the_connection(kind: str, server: Server) -> None:
    def leave_sync() -> None:
        with sync_client(kind, {"base_url": server.url}) as client:
            for _ in range(2):
                with client.flow("a/b/c").events() as stream:
                    for event in stream:
                        if event.event_type == "flow_completed":
                            break

    async def leave() -> None:
        async with async_client(kind, {"base_url": server.url}) as client:
            for _ in range(2):
                async with client.flow("a/b/c").events() as stream:
                    async for batch in stream.batches():
                        if batch[-1].type == "flow_completed":
                            break

    leave_sync() if kind.startswith("sync") else asyncio.run(leave())
    assert server.connections == 1


def test_a_body_that_does_not_end_holds_nobody_up(kind: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silence(call: Call) -> None:
        await call.write(HEAD)
        last = call.body["stepIndex"] == 2
        await call.frames("step_completed", "flow_completed" if last else "step_paused")
        await never()

    server.answer = silence
    server.is_watching = True
    monkeypatch.setattr(streams, "_DRAIN_SECONDS", 0.05)
    types, error = collect(kind, server)
    assert error is None
    assert types[-1] == "flow_completed"
    assert server.connections == 3


def test_a_refused_connection_was_not_sent(kind: str) -> None:
    with Server() as stopped:
        pass
    _, error = collect(kind, stopped)
    assert type(error) is APIConnectionError
    assert error.sent is False


def test_a_connection_reset_after_the_request_may_have_been_sent(kind: str, server: Server) -> None:
    async def reset(call: Call) -> None:
        call.reset()

    server.answer = reset
    _, error = collect(kind, server, client={"max_retries": 3})
    assert type(error) is APIConnectionError
    assert error.sent is True
    assert server.connections == 1


@pytest.mark.parametrize("how", ["reset", "cut"])
def test_a_stream_cut_off(kind: str, server: Server, how: str) -> None:
    async def cut(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started", "step_completed")
        if how == "cut":
            call.writer.close()
        else:
            call.reset()

    server.answer = cut
    types, error = collect(kind, server)
    assert type(error) is StreamInterruptedError
    # A reset may overtake what was sent before it.
    if how == "cut":
        assert types == ["run_started", "step_completed"]
        assert error.checkpoint == Checkpoint("E", 1, {"s0": 1})


def test_silence_is_bounded_by_the_client_s_timeout(kind: str, server: Server) -> None:
    async def silence(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        await never()

    server.answer = silence
    server.is_watching = True
    types, error = collect(kind, server, client={"timeout": 0.15})
    assert types == ["run_started"]
    assert type(error) is StreamTimeoutError
    assert error.code is None
    assert error.checkpoint == Checkpoint("E", 0, {})


@pytest.mark.parametrize("pings", [True, False])
def test_a_deadline_holds_with_pings_and_without(kind: str, server: Server, pings: bool) -> None:
    async def silence(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        while True:
            await asyncio.sleep(0.02) if pings else await never()
            await call.write(b"8\r\n: ping\n\n\r\n")

    server.answer = silence
    server.is_watching = True
    started = time.monotonic()
    types, error = collect(kind, server, timeout=0.3)
    assert types == ["run_started"]
    assert type(error) is StreamTimeoutError
    assert error.code == "DEADLINE_CLIENT"
    assert 0.29 < time.monotonic() - started < 5


def test_a_deadline_holds_while_waiting_for_the_answer(kind: str, server: Server) -> None:
    async def silence(_: Call) -> None:
        await never()

    server.answer = silence
    server.is_watching = True
    started = time.monotonic()
    _, error = collect(kind, server, timeout=0.2)
    assert isinstance(error, APITimeoutError)
    assert error.code == "DEADLINE_CLIENT"
    assert error.sent is True
    assert 0.19 < time.monotonic() - started < 5


DRIPPING = {
    "head": b"HTTP/1.1 200 OK\r\nX-Slow: ",
    "chunk": HEAD,
    "chunk of a last answer": HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "error": b"HTTP/1.1 500 Oh\r\nContent-Length: 5000\r\n\r\n",
}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("what", DRIPPING)
def test_a_deadline_holds_whatever_it_is_that_drips(kind: str, server: Server, what: str) -> None:
    async def drip(call: Call) -> None:
        await call.write(DRIPPING[what])
        while True:
            await call.write(b"0")
            await asyncio.sleep(0.02)

    server.answer, server.is_watching = drip, True
    before = time.monotonic()
    _, error = collect(kind, server, timeout=0.2)
    assert time.monotonic() - before < 3
    assert type(error) is StreamTimeoutError
    assert error.code == "DEADLINE_CLIENT"


def test_a_finished_stream_s_deadline_harms_nobody(server: Server) -> None:
    with Noukai("nk_x", base_url=server.url, max_retries=0) as client:
        flow = client.flow("a/b/c")
        first = flow.events(timeout=0.05)
        assert len(list(first)) == 9
        ends = time.monotonic() + 0.1
        while time.monotonic() < ends:
            assert len(list(flow.events())) == 9
    assert server.connections == 1


def test_a_deadline_wakes_a_read_that_began_late(kind: str, server: Server) -> None:
    async def silence(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        await asyncio.sleep(0.4)
        await call.frames("step_started")
        await never()

    server.answer = silence
    server.is_watching = True
    started = time.monotonic()
    types, error = collect(kind, server, timeout=1.0)
    assert types == ["run_started", "step_started"]
    assert error.code == "DEADLINE_CLIENT"
    assert 0.99 < time.monotonic() - started < 1.6


def test_a_deadline_that_passes_during_a_tool_call_harms_nobody(server: Server) -> None:
    async def answer(call: Call) -> None:
        if "tools" not in call.body:
            await three_steps(call)
            return
        await call.write(HEAD)
        pause = {"executionId": "E", "stepIndex": 0, "toolCallMessages": [], "toolCalls": []}
        frame = f"event: step_paused_for_tool_calls\ndata: {json.dumps(pause)}\n\n".encode()
        await call.write(b"%x\r\n%s\r\n" % (len(frame), frame) + END)

    server.answer = answer
    with Noukai("nk_x", base_url=server.url, max_retries=0) as client:
        flow = client.flow("a/b/c")

        def tool(_: Any) -> list[dict[str, Any]]:
            ends = time.monotonic() + 0.3
            while time.monotonic() < ends:
                assert len(list(flow.events())) == 9
            return []

        with pytest.raises(StreamTimeoutError) as caught:
            list(flow.events(tools=[{}], tool_handler=tool, timeout=0.15))
    assert caught.value.code == "DEADLINE_CLIENT"
    assert server.connections == 1


@pytest.mark.parametrize("kind", ["sync", "sync-httpx"])
def test_a_stream_can_be_closed_under_a_thread_that_reads_it(kind: str, server: Server) -> None:
    async def endless(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        await never()

    server.answer, server.is_watching = endless, True
    with sync_client(kind, {"base_url": server.url, "max_retries": 0}) as client:
        stream = client.flow("a/b/c").events()
        next(stream)
        outcomes: list[Any] = []

        def read() -> None:
            try:
                outcomes.append(next(stream, None))
            except StreamInterruptedError as error:
                outcomes.append(error)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        closer = threading.Timer(0.05, stream.close)
        closer.daemon = True
        closer.start()
        reader.join(10)
        closer.join(10)
        assert not reader.is_alive()
        assert not closer.is_alive()
        assert len(outcomes) == 1


def test_dropped_async_streams_free_their_connections(server: Server) -> None:
    async def main() -> None:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(limits=limits) as http:
            flow = AsyncNoukai("nk_x", base_url=server.url, http_client=http).flow("a/b/c")
            for _ in range(3):
                async for _event in flow.events(timeout=10):
                    break

    asyncio.run(main())
    assert server.connections == 3


def test_a_cancelled_stream_closes_its_connection(server: Server) -> None:
    async def silence(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        await never()

    server.answer = silence
    server.is_watching = True

    async def main() -> None:
        async with AsyncNoukai("nk_x", base_url=server.url) as client:
            stream = client.flow("a/b/c").events()
            assert (await anext(stream)).event_type == "run_started"
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert await asyncio.to_thread(server.closed.acquire, timeout=10)
            assert await anext(stream, None) is None

    asyncio.run(main())


QUIET = """
import asyncio, gc, sys
from noukai_sdk import AsyncNoukai

kept = []

async def main(how):
    client = AsyncNoukai("nk_x", base_url=sys.argv[1])
    stream = client.flow("a/b/c").events()
    if how == "finish":
        async for event in stream:
            pass
        await client.aclose()  # its idle connection is the client's to close
    elif how == "break":
        del stream
        async for event in client.flow("a/b/c").events():
            break
    elif how == "keep":
        kept.append(stream)
        async for event in stream:
            break
    elif how == "raise":
        try:
            async for event in stream:
                raise ValueError
        except ValueError:
            pass
    elif how == "task":
        async def consume():
            async for event in stream:
                await asyncio.sleep(10)
        kept.append(asyncio.create_task(consume()))
        await asyncio.sleep(0.05)

for how in ("finish", "break", "keep", "raise", "task") * 3:
    asyncio.run(main(how))
    kept.clear()
    gc.collect()
"""


def test_teardown_is_quiet(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", QUIET, server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
