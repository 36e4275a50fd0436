"""Every place in the pool comes back, however a call ends: with a pool of one, the next call shows it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from noukai_sdk import AsyncNoukai, Noukai, NoukaiError
from noukai_sdk._http.connections import Pool
from tests.support.sockets import END, HEAD, Call, Server, never

RESULT = json.dumps({"status": "completed", "result": 1, "flowId": "F", "blockCount": 1}).encode()
CALLS: dict[str, Callable[[Any], Any]] = {
    "execute": lambda flow: flow.execute("x"),
    "events": lambda flow: list(flow.events()),
    "events, dropped": lambda flow: next(flow.events()),
}


async def result(call: Call) -> None:
    await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(RESULT), RESULT))


async def undecodable(call: Call) -> None:
    await call.write(b"HTTP/1.1 500 Oh\r\nContent-Encoding: gzip\r\nContent-Length: 5000\r\n\r\nplain")
    await never()


async def reset(call: Call) -> None:
    call.reset()


async def silence(_: Call) -> None:
    await never()


async def begun(call: Call) -> None:
    await call.write(HEAD)
    await call.frames("run_started") if "stepIndex" in call.body else await call.write(b"1\r\n{\r\n")
    await never()


async def broken(call: Call) -> None:
    await call.write(HEAD + b"zz\r\n")
    await never()


async def whole(call: Call) -> None:
    if "stepIndex" not in call.body:
        return await result(call)
    await call.write(HEAD)
    await call.frames("run_started", "flow_completed")
    return await call.write(END)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        running.is_watching = True
        yield running


@contextlib.contextmanager
def pool_of_one(server: Server, **options: Any) -> Iterator[Noukai]:
    """A client, which after all that is done with it must still get its one connection."""
    with Noukai("nk_x", base_url=server.url, max_connections=1, pool_timeout=1, max_retries=0, **options) as client:
        yield client
        server.answer = result
        assert client.flow("a/b/c").execute("x")


@pytest.mark.parametrize("answer", [undecodable, reset, silence, begun, broken, whole])
@pytest.mark.parametrize("call", CALLS)
def test_after_any_answer(server: Server, answer: Any, call: str) -> None:
    with pool_of_one(server, timeout=0.2) as client:
        server.answer, server.is_watching = answer, answer is not whole
        with contextlib.suppress(NoukaiError):
            CALLS[call](client.flow("a/b/c"))


@pytest.mark.parametrize("phase", ["request", "response"])
@pytest.mark.parametrize("call", CALLS)
def test_after_an_interrupt_between_two_steps_of_ours(server: Server, phase: str, call: str) -> None:
    interrupted: list[str] = []

    def interrupt(event: dict[str, Any]) -> None:
        if event["phase"] == phase and not interrupted:
            interrupted.append(phase)
            raise KeyboardInterrupt

    with pool_of_one(server, log_handler=interrupt) as client:
        server.answer = begun if call.startswith("events") else result
        # Whoever watches hangs up after the answer, perhaps only when the connection is in use again.
        server.is_watching = server.answer is begun
        with pytest.raises(KeyboardInterrupt):
            CALLS[call](client.flow("a/b/c"))
        gc.collect()  # the exception held the response


@pytest.mark.parametrize("answer", [silence, begun])
@pytest.mark.parametrize("call", ["execute", "events"])
def test_after_an_interrupt_while_waiting(server: Server, answer: Any, call: str) -> None:
    main = threading.main_thread().ident
    assert main is not None

    async def answered(request: Call) -> None:
        asyncio.get_running_loop().call_later(0.05, signal.pthread_kill, main, signal.SIGUSR1)
        await answer(request)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pool_of_one(server) as client:
            server.answer = answered
            with pytest.raises(KeyboardInterrupt):
                CALLS[call](client.flow("a/b/c"))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_place_is_given_back_in_the_middle_of_taking_one() -> None:
    # Garbage is collected anywhere, also while this thread holds the lock of the queue of places.
    places = Pool.QueueCls(2)

    def give_back() -> None:
        with places.mutex:
            places.put(None, block=False)

    thread = threading.Thread(target=give_back, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("answer", [begun, whole])
@pytest.mark.parametrize("call", ["execute", "events"])
def test_after_a_cancellation_at_any_await(server: Server, answer: Any, call: str) -> None:
    async def iterate(flow: Any) -> None:
        async for _ in flow.events():
            pass

    server.is_watching = answer is not whole

    async def run() -> None:
        options: dict[str, Any] = {"max_connections": 1, "pool_timeout": 5, "max_retries": 0}
        async with AsyncNoukai("nk_x", base_url=server.url, **options) as client:
            flow = client.flow("a/b/c")
            for turns in range(25):
                server.answer = answer
                task = asyncio.ensure_future(flow.execute("x") if call == "execute" else iterate(flow))
                for _ in range(turns):
                    # A turn of the loop that has something to do: the server's packets come when they come.
                    await asyncio.sleep(0 if turns < 12 else 0.0005)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            server.answer = result
            assert await flow.execute("x")

    asyncio.run(run())
