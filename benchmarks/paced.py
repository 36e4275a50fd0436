"""An upstream for thousands of slow streams: an event each per interval, spread evenly over it, with its moment inside.

`/step` requests are answered until SIGUSR1 comes, which ends all streams as completed flows. Sending costs it a few µs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time

from .files import allow_many_files

SLOTS = 1_000
"""Moments of an interval at which streams are due; a stream keeps its own."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PAD = "x" * 120


def chunk(kind: str, **data: object) -> bytes:
    frame = f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(frame), frame)


BEGIN = (
    HEAD
    + chunk("run_started", executionId="e", flowId="f", stepCount=1)
    + chunk("step_started", stepId="write", stepIndex=0)
)
END = (
    chunk("step_completed", stepId="write", stepIndex=0, output="done")
    + chunk("flow_completed", executionId="e", result="done")
    + b"0\r\n\r\n"
)


def event() -> bytes:
    """About 180 bytes; what is put out begins with the time of now, in ns since 1970."""
    return chunk("step_output", stepId="write", outputData=f"{time.time_ns()} {PAD}")


class Wheel:
    """All open streams, each in the slot of the interval in which its event is due."""

    def __init__(self) -> None:
        self.slots: list[set[asyncio.WriteTransport]] = [set() for _ in range(SLOTS)]
        self._opened = 0

    def add(self, stream: asyncio.WriteTransport) -> set[asyncio.WriteTransport]:
        """The slot that it is in. Consecutive streams are far apart: a few are spread as evenly as thousands."""
        self._opened += 1
        slot = self.slots[self._opened * 618 % SLOTS]  # the golden section
        slot.add(stream)
        return slot

    async def turn(self, interval: float) -> None:
        """For ever; slots that were missed are made up for, as late as they are."""
        begin, done = time.monotonic(), 0
        while True:
            for n in range(done, due := int((time.monotonic() - begin) / interval * SLOTS)):
                for stream in self.slots[n % SLOTS]:
                    stream.write(event())
            done = due
            await asyncio.sleep(max(0.0, begin + (done + 1) * interval / SLOTS - time.monotonic()))

    def end(self) -> None:
        for slot in self.slots:
            for stream in slot:
                stream.write(END)
            slot.clear()


class Connection(asyncio.Protocol):
    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._slot: set[asyncio.WriteTransport] = set()
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._stream = transport

    def data_received(self, data: bytes) -> None:
        self._request += data
        head, end, body = self._request.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0):
            self._request = b""
            self._stream.write(BEGIN)
            self._slot = self._wheel.add(self._stream)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._slot.discard(self._stream)


async def serve(port: int, interval: float) -> None:
    loop, wheel = asyncio.get_running_loop(), Wheel()
    loop.add_signal_handler(signal.SIGUSR1, wheel.end)
    await loop.create_server(lambda: Connection(wheel), ["127.0.0.1", "::1"], port, backlog=4096)
    print("ready", flush=True)
    await wheel.turn(interval)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between the events of a stream")
    options = parser.parse_args()
    allow_many_files()
    asyncio.run(serve(options.port, options.interval))
