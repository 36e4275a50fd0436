"""WIRE.md 8.7 to 8.12: noise, connections, memory, uploads, construction, and the pool."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from noukai_sdk import FrameTooLargeError, Noukai, PoolTimeoutError
from noukai_sdk._http import senders
from noukai_sdk.testing import Exchange, sse
from tests.support.sockets import END, HEAD, Call, Server, never

RESULT = json.dumps({"status": "completed", "result": 1, "flowId": "F", "blockCount": 1}).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(RESULT), RESULT)

# The published guide's way of use, which closes nothing.
GUIDE = """
import asyncio, sys
from noukai_sdk import AsyncNoukai

async def main():
    flow = AsyncNoukai("nk_x", base_url=sys.argv[1]).flow("acme/it/weak")
    async for step in flow.steps("hi"):
        print(step.output)
    async for step in flow.steps("hi"):
        break
    try:
        async for step in flow.steps("hi"):
            raise ValueError
    except ValueError:
        pass

for _ in range(3):
    asyncio.run(main())
"""


def test_nothing_is_printed_by_those_who_close_nothing(server: Server) -> None:
    command = [sys.executable, "-W", "always", "-c", GUIDE, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n" * 9, "")


async def ten_steps(call: Call) -> None:
    await call.write(HEAD)
    await call.frames("step_completed", "flow_completed" if call.body["stepIndex"] == 9 else "step_paused")
    await call.write(END)


def test_ten_steps_and_ten_streams_take_one_connection(live: Any, server: Server) -> None:
    async def script() -> None:
        async with live.flow(server.url) as flow:
            for _ in range(10):
                assert len(await live.all(flow.steps())) == 10
            await live.get(flow.run("E").trace())  # calls share it, too

    async def answer(call: Call) -> None:
        trace = b'{"flowRun":{"id":"E","flowId":"F","status":"completed"},"steps":[]}'
        await (
            ten_steps(call)
            if call.body
            else call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(trace), trace))
        )

    server.answer = answer
    asyncio.run(script())
    assert server.connections == 1


def test_ten_steps_take_one_tls_handshake(live: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)

    async def script() -> None:
        async with live.flow(server.url) as flow:
            assert len(await live.all(flow.steps())) == 10

    senders.tls_context.cache_clear()
    try:
        with Server(tls=tls) as server:
            server.answer = ten_steps
            asyncio.run(script())
            assert server.connections == 1
    finally:
        senders.tls_context.cache_clear()


def test_a_stream_that_is_left_can_be_closed_while_it_is_referenced(live: Any, server: Server) -> None:
    async def endless(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started", "step_completed")
        await never()

    async def script() -> None:
        async with live.flow(server.url) as flow:
            stream = flow.steps()
            await live.next(stream)
            await live.close(stream)
            assert await asyncio.to_thread(server.closed.acquire, timeout=10)
            assert await live.next(stream) is None

    server.answer, server.is_watching = endless, True
    asyncio.run(script())


def test_what_never_ends_is_given_up_at_the_bound_with_the_remedy(side: Any) -> None:
    kilobyte = b"x" * 1024
    exchange = Exchange.stream(sse("step_output", stepId="a"), b"data: ", *[kilobyte] * 100)
    played = side.play([exchange], max_frame_bytes=50 * 1024)
    assert played.types == ["step_output"]
    assert type(played.error) is FrameTooLargeError
    assert "raise max_frame_bytes" in str(played.error)
    assert exchange.closed
    assert not exchange.drained


def test_a_frame_in_pieces_costs_time_in_proportion_to_its_size(side: Any) -> None:
    def seconds(megabytes: int) -> float:
        frame = sse("step_completed", stepId="a", output="y" * (megabytes << 20))
        exchange = Exchange.stream(frame, sse("flow_completed")).in_pieces(16 * 1024)
        started = time.process_time()
        played = side.play([exchange])
        spent = time.process_time() - started
        assert played.types == ["step_completed", "flow_completed"]
        return spent

    # 16 times the bytes; quadratic would be 256 times the time. The floor keeps the clock's grain out of it.
    assert seconds(16) < 60 * max(seconds(1), 0.01)


def test_the_whole_flow_in_one_request_uploads_no_output(side: Any) -> None:
    output = "x" * 10_000
    steps = [sse("step_completed", stepId=f"s{number}", output=output) for number in range(10)]
    played = side.play([Exchange.stream(*steps, sse("flow_completed"))], "hi", run_remaining=True)
    assert (played.error, len(played.items)) == (None, 11)
    assert len(played.transport.requests) == 1
    assert len(played.transport.requests[0].content) < 300


def test_outputs_are_sent_again_where_the_protocol_wants_it_but_never_copied(side: Any) -> None:
    pause = sse("step_paused")
    exchanges = [Exchange.stream(sse("step_completed", stepId=f"s{n}", output=["x" * 1000]), pause) for n in range(3)]
    played = side.play([*exchanges, Exchange.stream(sse("flow_completed"))], batches=True)
    assert [len(body["accumulatedOutputs"]) for body in played.transport.bodies] == [0, 1, 2, 3]
    outputs = [frame.payload["output"] for frame in played.items if frame.type == "step_completed"]
    assert [played.checkpoint.outputs[f"s{n}"] is outputs[n] for n in range(3)] == [True] * 3


def test_importing_and_constructing_loads_no_http_library_and_no_models() -> None:
    code = """
import sys, noukai_sdk
noukai_sdk.Noukai("nk_x"), noukai_sdk.AsyncNoukai("nk_x")
print([name for name in ("httpx", "pydantic", "aiohttp", "urllib3", "ssl", "asyncio") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_all_clients_share_one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    create = senders.httpx.create_ssl_context
    monkeypatch.setattr(senders.httpx, "create_ssl_context", lambda: made.append(create()) or made[-1])
    senders.tls_context.cache_clear()
    try:
        for _ in range(20):
            with Noukai("nk_x") as client:
                assert client._connection.sender
        assert len(made) == 1
    finally:
        senders.tls_context.cache_clear()


def test_more_calls_than_a_hundred_are_under_way_at_once(live: Any, server: Server) -> None:
    together = asyncio.Barrier(150)

    async def gathered(call: Call) -> None:
        await asyncio.wait_for(together.wait(), 20)
        await call.write(OK)

    async def script() -> None:
        async with live.flow(server.url, timeout=30) as flow:
            if live.kind == "sync":
                with ThreadPoolExecutor(150) as threads:
                    results = list(threads.map(lambda _: flow.execute("hi"), range(150)))
            else:
                results = await asyncio.gather(*(flow.execute("hi") for _ in range(150)))
            assert [result.output for result in results] == [1] * 150

    server.answer = gathered
    asyncio.run(script())


def test_a_wait_for_the_pool_is_told_from_a_wait_for_the_answer(live: Any, server: Server) -> None:
    async def endless(call: Call) -> None:
        await call.write(HEAD)
        await call.frames("run_started")
        await never()

    async def script() -> None:
        # The pool's patience is the timeout, unless said otherwise; 0 is none at all.
        for options in ({"timeout": 0.05}, {"timeout": 30, "pool_timeout": 0.05}, {"timeout": 30, "pool_timeout": 0}):
            async with live.flow(server.url, max_connections=1, **options) as flow:
                stream = flow.events()
                await live.next(stream)
                started = time.monotonic()
                with pytest.raises(PoolTimeoutError, match="no connection was free") as caught:
                    await live.get(flow.execute("hi"))
                assert caught.value.sent is False
                assert time.monotonic() - started < 10
                await live.close(stream)

    server.answer, server.is_watching = endless, True
    asyncio.run(script())
