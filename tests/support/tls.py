"""A Redis-protocol server that speaks TLS only: by itself where it can, else behind a small proxy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import trustme

from tests.support.processes import RedisServer, free_port


class Certificates:
    """An authority of our own and a certificate for 127.0.0.1, as files in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        self.authority, self.certificate, self.key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
        authority.cert_pem.write_to_path(str(self.authority))
        issued.private_key_pem.write_to_path(str(self.key))
        for pem in issued.cert_chain_pems:
            pem.write_to_path(str(self.certificate), append=True)


@contextlib.contextmanager
def encrypted(folder: Path, certificates: Certificates) -> Iterator[int]:
    """A server while the block runs; its TLS port. The server that NOUKAI_TEST_SERVER names, natively if it can."""
    if os.environ.get("NOUKAI_TEST_SERVER") == "redis":
        port = free_port()
        options = {
            "tls-port": port,
            "tls-cert-file": certificates.certificate,
            "tls-key-file": certificates.key,
            "tls-ca-cert-file": certificates.authority,
            "tls-auth-clients": "no",
        }
        server = RedisServer(folder, options=tuple(f"--{name} {value}" for name, value in options.items()))
        with contextlib.ExitStack() as stack:
            stack.callback(server.stop)
            server.start()
            yield port
        return
    server = RedisServer(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        front = TlsFront(server.port, certificates)
        stack.callback(front.stop)
        yield front.port


class TlsFront:
    """Ends TLS before the server on loopback at `target`; runs in a thread until stopped."""

    def __init__(self, target: int, certificates: Certificates) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.certificate, certificates.key)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None] | None] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        tasks = [task for task in self._tasks if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        writers = [writer]
        try:
            behind_reader, behind = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(behind)
            await asyncio.gather(_copy(reader, behind), _copy(behind_reader, writer))
        except OSError:
            pass
        finally:
            for one in writers:
                one.transport.abort()
            await asyncio.gather(*(one.wait_closed() for one in writers), return_exceptions=True)
            self._tasks.discard(asyncio.current_task())


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()
    raise ConnectionResetError  # either side's end is the end of both
