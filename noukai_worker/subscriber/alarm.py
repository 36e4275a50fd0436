"""A timer that is put off far more often than it goes off: setting it costs an attribute, not a place in the loop's heap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls back once a moment has come. One timer serves it: if that goes off too early, it is set anew."""

    __slots__ = ("_at", "_call", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        self._loop, self._call = loop, call
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Call back in so many seconds, and not when it was to be before."""
        self._at = at = self._loop.time() + seconds
        if self._timer is None or at < self._timer.when():
            self._arm(at)

    def clear(self) -> None:
        """Do not call back."""
        self._at = None

    def close(self) -> None:
        """Clear it, and let go of what it calls."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        due, self._timer = self._timer, None
        if self._at is None or due is None:
            return
        if self._at > due.when():
            self._arm(self._at)
        else:
            self._at = None
            self._call()
