"""This room knows the scope a call is made in: the session to record it under, or the recording to answer it from.

WIRE.md 6.9. A scope belongs to the context that entered it, and to the tasks and threads that are given a copy of that.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noukai_sdk._protocol.cassette import Cassette


class ScopeMode(enum.Enum):
    """What a scope does with the calls in it."""

    NORMAL = "normal"
    CAPTURE = "capture"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What `replay_scope` gives. `session_id` is what calls are recorded under, or played from; None in normal mode."""

    mode: ScopeMode
    session_id: str | None
    # What answers the calls in replay mode.
    cassette: Cassette | None = field(default=None, repr=False)


_current: ContextVar[Scope | None] = ContextVar("noukai_scope", default=None)


def current_scope() -> Scope | None:
    """The innermost scope around the caller."""
    return _current.get()


def current_session_id() -> str | None:
    """The session of the innermost scope around the caller; None without one, and in normal mode."""
    scope = _current.get()
    return None if scope is None else scope.session_id


@contextmanager
def inside(scope: Scope) -> Iterator[None]:
    """Calls made in here are made in `scope`."""
    before = _current.get()
    _current.set(scope)
    try:
        yield
    finally:
        # Not by token, which would fail where a scope is left in another context, such as by a generator's finaliser.
        if _current.get() is scope:
            _current.set(before)
