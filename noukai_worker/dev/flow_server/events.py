"""Where a run's events go: as SSE frames to a caller (WIRE.md 4.2), or nowhere, for ``/execute`` and jobs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from starlette.types import Scope, Send

from .connection import CallerGone, HangUp, is_closing
from .manners import Manner

#: Seconds of silence after which a comment is sent, so that proxies keep the connection.
PING_EVERY = 15.0
_PING = b": ping\n\n"

T = TypeVar("T")
Coming = Callable[[], Coroutine[Any, Any, T]]


class Sink(Protocol):
    """Takes the events of a run and passes its time."""

    async def emit(self, event: str, data: Mapping[str, object]) -> bool:
        """Send an event; False if the caller cannot have understood it."""

    async def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass."""

    async def wait_for(self, coming: Coming[T]) -> T:
        """Return what ``coming`` gives, once it does; a cancelled ``coming`` must have taken nothing."""
        ...


class Silence:
    """The sink of ``/execute`` and of jobs: time passes, nothing is sent."""

    async def emit(self, event: str, data: Mapping[str, object]) -> bool:  # noqa: ARG002 - the protocol's signature
        """Drop the event."""
        return True

    async def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        await asyncio.sleep(seconds)

    async def wait_for(self, coming: Coming[T]) -> T:
        """Return what ``coming`` gives."""
        return await coming()


def sse_frame(event: str, data: Mapping[str, object]) -> bytes:
    """Return one frame: LF line ends, one data line, a blank line."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event}\ndata: {text}\n\n".encode("utf-8", "backslashreplace")


class EventStream:
    """The body of one ``/step`` or live trace answer; each frame is written as it comes. ``manner`` spoils it at its frame."""

    def __init__(self, scope: Scope, send: Send, manner: Manner | None) -> None:
        self._scope = scope
        self._send = send
        self._manner = manner
        self._spoil_at = None if manner is None else manner.at_event
        self._frames = 0

    async def open(self) -> None:
        """Send the head."""
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def emit(self, event: str, data: Mapping[str, object]) -> bool:
        """Write a frame; return False if it was broken by order."""
        frame = sse_frame(event, data)
        whole = True
        if self._frames == self._spoil_at:
            if self._manner is not None and self._manner.malformed_after_events is not None:
                whole = False
                frame = _broken(frame)
            else:
                await self._drop_or_stall()
        await self._write(frame)
        self._frames += 1
        return whole

    async def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass, with a comment now and then."""
        await self._drop_or_stall()
        while seconds > PING_EVERY:
            await asyncio.sleep(PING_EVERY)
            await self._write(_PING)
            seconds -= PING_EVERY
        await asyncio.sleep(seconds)

    async def wait_for(self, coming: Coming[T]) -> T:
        """Return what ``coming`` gives, with a comment now and then until it does."""
        await self._drop_or_stall()
        while True:
            try:
                async with asyncio.timeout(PING_EVERY):
                    return await coming()
            except TimeoutError:
                await self._write(_PING)

    async def close(self) -> None:
        """Finish the body, unless ordered to drop it now."""
        await self._drop_or_stall()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drop_or_stall(self) -> None:
        # As early as possible after the frame in question, not when the next one is due.
        if self._manner is None or self._frames != self._spoil_at:
            return
        if self._manner.drop_after_events is not None:
            raise HangUp(reset=self._manner.reset)
        if self._manner.seconds is not None:
            self._spoil_at = None
            await asyncio.sleep(self._manner.seconds)

    async def _write(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        # uvicorn drops what is sent to a closed connection without a word.
        if is_closing(self._scope):
            raise CallerGone


def _broken(frame: bytes) -> bytes:
    half = frame[: max(len(frame) // 2, frame.index(b"data: ") + 7)]
    return half.decode("utf-8", "ignore").encode() + b"\n\n"
