"""Readers over HTTP: plain sockets and a line scanner. Hundreds cost little, and none of our own reading code is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field

from .evidence import ENDS, Accepted, moment

REFUSALS = {400, 401, 404, 410}


@dataclass
class Reader:
    """Follows one run to its end through any number of connections; what it saw, and how late."""

    run: Accepted
    port: int
    seqs: list[int] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    """Seconds from when an entry was written until it was here, for those written while we were attached."""
    statuses: list[int] = field(default_factory=list)
    lines: dict[int, bytes] = field(default_factory=dict)
    """Every entry as it was told."""
    told: list[str] = field(default_factory=list)
    """What it was told it cannot have: codes."""
    ended: bool = False
    refused: bool = False
    connections: int = 0
    _since: float = 0.0

    async def follow(self) -> None:
        """Until the terminal entry; comes back with its position whenever it is cut off."""
        while not self.ended and not self.refused:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self.once()
            await asyncio.sleep(0.0 if self.ended else 0.1)

    async def once(self, leave_after: int | None = None) -> None:
        """One connection; left after so many entries, if given."""
        reader, writer = await connect(self.port, self.run, self.seqs[-1] if self.seqs else 0)
        self.connections += 1
        self._since = time.time()
        left = leave_after
        try:
            status = int((await reader.readline() or b"HTTP/1.1 0").split()[1])
            self.statuses.append(status)
            if status == 204:
                self.ended = True
            self.refused = status in REFUSALS
            while line := await reader.readline():
                if line.startswith(b'{"detail"'):
                    self.told.append(json.loads(line)["detail"]["code"])
                if line.startswith(b"data: {"):
                    self._take(line[6:].strip())
                    left = left and left - 1
                    if self.ended or left == 0:
                        return
        finally:
            writer.close()

    def _take(self, line: bytes) -> None:
        entry = json.loads(line)
        if "seq" not in entry:
            self.told.append(entry["code"])
            return
        self.lines[entry["seq"]] = line
        if moment(entry) > self._since:
            self.lags.append(time.time() - moment(entry))
        self.seqs.append(entry["seq"])
        self.ended = entry["type"] in ENDS

    @property
    def whole(self) -> bool:
        """Whether it got 1, 2, 3 … to the end."""
        return self.ended and self.seqs == list(range(1, len(self.seqs) + 1))


async def dial(port: int, run: Accepted, after: int, *, buffer: int | None = None) -> socket.socket:
    """Ask for a run's events. `buffer` bytes is all that the kernel holds for us, if given."""
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setblocking(False)
    head = f"GET /runs/{run.id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {run.token}\r\n"
    try:
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, f"{head}Last-Event-ID: {after}\r\n\r\n".encode())
    except BaseException:
        sock.close()
        raise
    return sock


async def connect(port: int, run: Accepted, after: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The same as streams."""
    return await asyncio.open_connection(sock=await dial(port, run, after), limit=1 << 20)


class Audience(threading.Thread):
    """Readers in a loop of their own, beside a row that does other things."""

    def __init__(self, port: int) -> None:
        super().__init__(name="audience")
        self.port, self.readers = port, list[Reader]()
        self._loop = asyncio.new_event_loop()
        self._tasks = set[asyncio.Task[None]]()

    def run(self) -> None:
        """The loop, until `close`."""
        self._loop.run_forever()
        self._loop.run_until_complete(self._send_away())
        self._loop.close()

    async def _send_away(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def attend(self, run: Accepted) -> Reader:
        """One more reader."""
        reader = Reader(run, self.port)
        self.readers.append(reader)
        self._loop.call_soon_threadsafe(lambda: self._tasks.add(self._loop.create_task(reader.follow())))
        return reader

    def close(self) -> None:
        """Send everybody away."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join()

    def settle(self, within: float = 10.0) -> None:
        """Wait until everybody has got to an end, and send those away who have not."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and not all(reader.ended or reader.refused for reader in self.readers):
            time.sleep(0.05)
        self.close()

    def broken(self) -> list[str]:
        """Runs of those who did not get every entry once, to the end."""
        return [reader.run.id for reader in self.readers if not reader.whole]
