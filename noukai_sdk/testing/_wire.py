"""This room holds what a scripted body is made of: frames, failures and silence."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any, Literal, get_args

import httpx

FailureKind = Literal[
    "refused", "connect_timeout", "pool_timeout", "write_timeout", "read_timeout", "reset_on_write", "reset", "cut"
]

_FAILURES: dict[str, Callable[[], httpx.TransportError]] = {
    "refused": lambda: httpx.ConnectError("Connection refused"),
    "connect_timeout": lambda: httpx.ConnectTimeout("timed out"),
    "pool_timeout": lambda: httpx.PoolTimeout(""),
    "write_timeout": lambda: httpx.WriteTimeout("timed out"),
    "read_timeout": lambda: httpx.ReadTimeout("timed out"),
    "reset_on_write": lambda: httpx.WriteError("Connection reset by peer"),
    "reset": lambda: httpx.ReadError("Connection reset by peer"),
    "cut": lambda: httpx.RemoteProtocolError("the peer closed the connection without sending the whole body"),
}


def failure(kind: FailureKind) -> httpx.TransportError:
    """What a transport raises when the network fails in this way. Raises ValueError for an unknown kind.

    Before anything is sent: "refused", "connect_timeout", "pool_timeout"; while sending: "write_timeout",
    "reset_on_write"; while waiting for the answer or reading it: "read_timeout", "reset", "cut".
    """
    if kind not in _FAILURES:
        raise ValueError(f"there is no failure {kind!r}; use one of {', '.join(get_args(FailureKind))}")
    return _FAILURES[kind]()


def sse(event: str | None, /, payload: Any = None, **members: Any) -> bytes:
    """One frame of an event stream: its name, and an object given whole or by its members (WIRE.md 4.3 has them).

    Text as `payload` is sent as it is, line by line, whether it is JSON or not. No `event:` line for None.
    """
    if payload is not None and members:
        raise TypeError("pass either the payload or its members, not both")
    text = payload if isinstance(payload, str) else json.dumps(members if payload is None else payload)
    lines = [] if event is None else [f"event: {event}"]
    lines += [f"data: {line}" for line in text.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


class Stall:
    """Silence in a scripted body: nothing comes until `release()`, or until the client's read timeout is over.

    One that is used in several exchanges holds all of them, and once released none any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._reached = threading.Event()
        self._wakers: list[Callable[[], object]] = []

    def release(self) -> None:
        """Let the body go on. From any thread."""
        with self._lock:
            self._released.set()
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    @property
    def reached(self) -> bool:
        """Whether a client is, or was, held here."""
        return self._reached.is_set()

    def wait_until_reached(self, timeout: float = 10.0) -> None:
        """Wait until a client is held here; for another thread. Raises AssertionError after `timeout` seconds."""
        if not self._reached.wait(timeout):
            raise AssertionError(f"no client came to the stall within {timeout:g} s")

    def hold(self, seconds: float | None) -> None:
        """Wait for the release. Raises httpx.ReadTimeout after so many seconds."""
        self._reached.set()
        if not self._released.wait(seconds):
            raise failure("read_timeout")

    async def ahold(self, seconds: float | None) -> None:
        """The same, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        with self._lock:
            if self._released.is_set():
                woken.set()
            else:
                self._wakers.append(lambda: loop.is_closed() or loop.call_soon_threadsafe(woken.set))
        self._reached.set()
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            raise failure("read_timeout") from None
