"""This room holds one streamed call: a request, and its body, read by a machine that understands it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from noukai_sdk._errors import NoukaiError
from noukai_sdk._models.frames import Frame
from noukai_sdk._protocol.effects import FINISH, READ, Deliver, Effect, Send
from noukai_sdk._protocol.replies import odd_reply
from noukai_sdk._protocol.retry import ask


class Machine(Protocol):
    """Takes a body chunk by chunk, and says whether there is more to expect, or what is wrong."""

    @property
    def reading(self) -> bool: ...
    @property
    def failure(self) -> NoukaiError | None: ...
    def receive(self, chunk: bytes) -> list[Frame]: ...
    def end_of_body(self) -> list[Frame]: ...


def read(send: Send, machine: Machine, max_retries: int) -> Generator[Effect, Any, None]:
    """Send, and deliver the frames of the answer until the machine has enough. Raises NoukaiError."""
    reply = yield from ask(send, max_retries)
    is_stream = "text/event-stream" in reply.headers.get("content-type", "text/event-stream")
    while machine.reading:
        chunk = yield READ
        frames = machine.end_of_body() if chunk is None else machine.receive(chunk)
        if frames:
            is_stream = True
            yield Deliver(frames, is_last=not machine.reading)
        if chunk is None and not is_stream:
            # A page without a single event, such as a proxy's, will not become a stream by asking again.
            raise odd_reply(reply, "is not an event stream")
        if machine.failure is not None:
            raise machine.failure
    yield FINISH
