"""WIRE.md 8.3 to 8.5: streams that break off, odd framing, no deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from noukai_sdk import APIConnectionError, Checkpoint, StreamInterruptedError, StreamTimeoutError
from noukai_sdk.testing import Exchange
from tests.support.sockets import END, HEAD, Call, Server, never

OLD_STYLE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
STEP = b'event: step_completed\ndata: {"stepId": "s0", "output": 1}\n\n'


async def end_in_a_chunk(call: Call) -> None:
    await call.write(b"ff\r\n")
    call.writer.close()


async def end_between_chunks(call: Call) -> None:
    call.writer.close()


async def reset(call: Call) -> None:
    call.reset()


async def clean_end(call: Call) -> None:
    await call.write(END)


async def silence(_: Call) -> None:
    await never()


@pytest.mark.parametrize("failure", [end_in_a_chunk, end_between_chunks, reset, clean_end, silence])
def test_a_stream_that_breaks_off_is_a_typed_error_and_goes_on_at_its_checkpoint(
    live: Any, server: Server, failure: Any
) -> None:
    taken = threading.Event()
    asked: list[int] = []

    async def answer(call: Call) -> None:
        asked.append(call.body["stepIndex"])
        await call.write(HEAD)
        if len(asked) == 1:
            await call.frames("run_started", "step_completed")
            await asyncio.to_thread(taken.wait, 10)  # a reset would overtake what is not read yet
            await failure(call)
        else:
            await call.frames("step_completed", "flow_completed")
            await call.write(END)

    async def script() -> None:
        async with live.flow(server.url, timeout=0.3 if failure is silence else 30, max_retries=3) as flow:
            stream = flow.steps("hi")
            assert (await live.next(stream)).output == 1
            taken.set()
            with pytest.raises(StreamInterruptedError) as caught:
                await live.next(stream)
            assert isinstance(caught.value, StreamTimeoutError) == (failure is silence)
            assert str(caught.value)
            assert caught.value.checkpoint == stream.checkpoint == Checkpoint("E", 1, {"s0": 1})
            assert asked == [0]  # nothing is asked for again behind one's back
            assert await live.next(stream) is None
            assert [step.step_id for step in await live.all(flow.steps(checkpoint=caught.value.checkpoint))] == ["s1"]
            assert asked == [0, 1]

    server.answer, server.is_watching = answer, failure is silence
    asyncio.run(script())


def test_a_connection_that_ends_instead_of_the_flow_is_never_a_success(live: Any, server: Server) -> None:
    async def old_style(call: Call) -> None:
        await call.write(OLD_STYLE + STEP)
        call.writer.close()

    async def script() -> None:
        async with live.flow(server.url) as flow:
            events: list[Any] = []
            with pytest.raises(StreamInterruptedError, match="before the flow did"):
                await live.all(flow.events(), events)
            assert [event.event_type for event in events] == ["step_completed"]

    server.answer = old_style
    asyncio.run(script())


def test_a_stream_that_nobody_serves_is_a_typed_error_and_was_not_sent(live: Any) -> None:
    async def script() -> None:
        async with live.flow(stopped.url) as flow:
            for stream in (flow.events(), flow.steps(), flow.run("E").live_trace()):
                with pytest.raises(APIConnectionError) as caught:
                    await live.next(stream)
                assert caught.value.sent is False

    with Server() as stopped:
        pass
    asyncio.run(script())


PLAIN = (
    b'event: run_started\ndata: {"executionId": "E"}\n\n: ping\n\n'
    b'event: step_completed\ndata: {"stepId": "a", "output": "\xc3\xa9"}\n\n'
    b'event: flow_completed\ndata: {"result": 1}\n\n'
)
FRAMINGS = {
    "CRLF": PLAIN.replace(b"\n", b"\r\n"),
    "CR": PLAIN.replace(b"\n", b"\r"),
    "one CRLF frame among LF": PLAIN.replace(b'"E"}\n\n', b'"E"}\r\n\r\n').replace(b"started\n", b"started\r\n"),
    "no last blank line": PLAIN[:-1],
    "no last line end": PLAIN[:-2],
    "BOM": b"\xef\xbb\xbf" + PLAIN,
    "spaces after the name": PLAIN.replace(b"completed\n", b"completed \n"),
    "no spaces after colons": PLAIN.replace(b"event: ", b"event:").replace(b"data: ", b"data:"),
    "data first": PLAIN.replace(
        b'event: flow_completed\ndata: {"result": 1}', b'data: {"result": 1}\nevent: flow_completed'
    ),
}


@pytest.mark.parametrize("body", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_any_framing_of_the_standard_is_read(side: Any, body: bytes) -> None:
    exchange = Exchange.stream(body)
    for cut in (exchange, exchange.in_pieces(1), exchange.in_pieces(7)):
        played = side.play([cut])
        assert played.error is None
        assert played.types == ["run_started", "step_completed", "flow_completed"]
        assert played.items[1].output == "é"


@pytest.mark.parametrize("call", ["steps", "events", "live_trace"])
def test_a_deadline_ends_a_stream_that_only_pings(live: Any, server: Server, call: str) -> None:
    async def pings(call: Call) -> None:
        await call.write(HEAD)
        while True:
            await call.write(b"8\r\n: ping\n\n\r\n")
            await asyncio.sleep(0.01)

    async def script() -> None:
        async with live.flow(server.url, timeout=30) as flow:
            started = time.monotonic()
            with pytest.raises(StreamTimeoutError) as caught:
                await live.next(getattr(flow.run("E") if call == "live_trace" else flow, call)(timeout=0.2))
            assert caught.value.code == "DEADLINE_CLIENT"
            assert 0.19 < time.monotonic() - started < 10

    server.answer, server.is_watching = pings, True
    asyncio.run(script())
