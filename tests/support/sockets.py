"""A server on a socket that does to each request whatever a test tells it to, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Self

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
Answer = Callable[["Call"], Awaitable[None]]


class Call:
    """One request at the server, and the means to answer it piece by piece."""

    def __init__(self, target: str, body: Any, writer: asyncio.StreamWriter) -> None:
        # What the request line asks for, undecoded.
        self.target = target
        # None without one.
        self.body = body
        self.writer = writer

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def frames(self, *names: str) -> None:
        for name in names:
            payload = {"executionId": "E", "stepId": f"s{self.body['stepIndex']}", "output": 1}
            frame = f"event: {name}\ndata: {json.dumps(payload)}\n\n".encode()
            await self.write(b"%x\r\n%s\r\n" % (len(frame), frame))

    def reset(self) -> None:
        # A linger of zero seconds turns the close into a reset.
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


class Server:
    """A server on a free port that gives every request to `answer`."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.answer: Answer = three_steps
        self._tls = tls
        self.connections = 0
        self.closed = threading.Semaphore(0)
        # Whether an answer that never ends is to be given up when the client goes.
        self.is_watching = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/api/v1"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        # What is closed by the end of the event loop is some later test's warning.
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with self._held(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.transport.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                body = json.loads(await reader.readexactly(length)) if length else None
                answer = self.answer(Call(head.split()[1].decode(), body, writer))
                if self.is_watching:
                    await _until_gone(answer, reader)
                    return
                await answer

    @contextlib.contextmanager
    def _held(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        """Is known to the server until it is over; the event loop itself holds tasks weakly."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            yield
        finally:
            writer.close()
            self._tasks.discard(task)
            self._writers.discard(writer)
            self.closed.release()


class Tunnel(Server):
    """A proxy that connects whoever asks with the server at `port`; without one it takes the request and says nothing."""

    def __init__(self, port: int | None, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self._target = port

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._held(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            if self._target is None:
                await reader.read()
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
    finally:
        writer.close()


async def _until_gone(answer: Awaitable[None], reader: asyncio.StreamReader) -> None:
    tasks = [asyncio.ensure_future(answer), asyncio.ensure_future(reader.read(1))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def never() -> None:
    await asyncio.Event().wait()


async def three_steps(call: Call) -> None:
    await call.write(HEAD)
    last = call.body["stepIndex"] == 2
    await call.frames("run_started", "step_completed", "flow_completed" if last else "step_paused")
    await call.write(END)
