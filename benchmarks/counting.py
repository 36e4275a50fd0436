"""Counts the bytes that go to an upstream: a relay between a client and a server on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class Counter:
    """`sent`: bytes from clients to the upstream, heads and bodies of their requests."""

    def __init__(self, port: int, upstream: int) -> None:
        self.port, self.upstream, self.sent = port, upstream, 0
        self.close = asyncio.Event()

    async def serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        v6 = await asyncio.start_server(self._client, "::1", self.port)
        ready.set()
        await self.close.wait()
        server.close()
        v6.close()  # what is still open is cancelled with the loop

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self.upstream)
        with contextlib.suppress(asyncio.CancelledError):  # the benchmark is over
            await asyncio.gather(self._copy(reader, forth, counted=True), self._copy(back, writer, counted=False))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                self.sent += len(data) * counted
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.contextmanager
def counting(port: int, upstream: int) -> Iterator[Counter]:
    """A relay on `port`, in a thread of its own."""
    counter, ready = Counter(port, upstream), threading.Event()
    loop: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loop.append(asyncio.get_running_loop())
        await counter.serve(ready)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError(f"port {port} cannot be listened on")
    try:
        yield counter
    finally:
        loop[0].call_soon_threadsafe(counter.close.set)
        thread.join(10)
