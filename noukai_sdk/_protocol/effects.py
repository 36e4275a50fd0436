"""This room names what a conversation wants done: it yields an effect, the driver does it and sends back the outcome."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from noukai_sdk._models.frames import Frame


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the outcome is a `Reply`. `timeout` in seconds, None for the client's.

    `headers` come on top of the client's own, and never replace them (WIRE.md 1.3).
    """

    method: str
    path: str
    body: dict[str, Any] | None = None
    session_id: str | None = None
    timeout: float | None = None
    stream: bool = False
    attempt: int = 1
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said. `body` is None for a stream that is now open; `received_at` is Unix time in seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    received_at: float


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Clock:
    """Look at the clock; the outcome is in seconds, from an arbitrary start, and never goes back."""


@dataclass(frozen=True, slots=True)
class Call:
    """Call the user's function; the outcome is what it returns."""

    function: Callable[[Any], Any]
    argument: Any


@dataclass(frozen=True, slots=True)
class Read:
    """Read from the open stream; the outcome is bytes, or None at the end of the body."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Be done with the open stream in a way that lets its connection be used again."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand these frames to the caller. After the last ones of a call only its connection is left to be freed."""

    frames: list[Frame]
    is_last: bool


CLOCK: Final = Clock()
READ: Final = Read()
FINISH: Final = Finish()

Effect = Send | Sleep | Clock | Call | Read | Finish | Deliver

T = TypeVar("T")
Conversation = Generator[Effect, Any, T]


class Observe(Protocol):
    """Gives a conversation that does the same as the one it is given, and is watched."""

    def __call__(self, conversation: Conversation[T], /) -> Conversation[T]: ...


def watched(conversation: Conversation[T], observe: Observe | None) -> Conversation[T]:
    """The conversation, watched if anybody watches."""
    return conversation if observe is None else observe(conversation)
