"""Readers of server-sent events that cost next to nothing: bare sockets in a process of their own, which only count."""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import select
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.processes import until

_ENTRY = b"data: {"
_AT_ONCE = 100
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Readers:
    """So many readers, and what all of them together have been given."""

    count: int
    _answered: Any
    _entries: Any

    def have(self, entries: int) -> None:
        """Wait until every reader has been given so many entries. Fails if that takes two minutes."""
        until(lambda: self._entries.value >= entries * self.count, f"{entries} entries for each", within=_PATIENCE)
        assert self._entries.value == entries * self.count, (self._entries.value, entries * self.count)

    def attached(self) -> None:
        """Wait until every reader has its answer's head."""
        until(lambda: self._answered.value >= self.count, "all readers are answered", within=_PATIENCE)


@contextlib.contextmanager
def reading(port: int, paths: Sequence[str]) -> Iterator[Readers]:
    """One reader for each path on a local port; they leave at the end."""
    process = multiprocessing.get_context("spawn")
    answered, entries = process.Value("q", lock=False), process.Value("q", lock=False)
    child = process.Process(target=_read, args=(port, paths, answered, entries), daemon=True)
    child.start()
    try:
        yield Readers(len(paths), answered, entries)
    finally:
        child.terminate()
        child.join()


def many_files() -> None:
    """Let this process and its children have as many sockets as the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _read(port: int, paths: Sequence[str], answered: Any, entries: Any) -> None:
    sockets: dict[int, socket.socket] = {}
    silent: set[int] = set()
    poll = select.epoll()
    waiting = iter(paths)
    while True:
        while len(silent) < _AT_ONCE and (path := next(waiting, None)):
            reader = socket.create_connection(("127.0.0.1", port))
            reader.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            poll.register(reader, select.EPOLLIN)
            sockets[reader.fileno()] = reader
            silent.add(reader.fileno())
        for number, _ in poll.poll():
            piece = sockets[number].recv(1 << 18)
            assert piece, "the server has hung up"
            if number in silent:
                assert piece.startswith(b"HTTP/1.1 200 "), piece
                silent.discard(number)
                answered.value += 1
            entries.value += piece.count(_ENTRY)
