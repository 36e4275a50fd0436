"""How long a reader puts up with a Redis that is away, and how often it tries. No I/O."""

from __future__ import annotations

import random
from collections.abc import Callable

from ..errors import StoreUnavailable

CHECK = 3.0
"""Seconds between two looks at the log of a silent run: pub/sub may die without a word."""
PATIENCE = 60.0
"""Seconds that Redis may be away (a restart, a failover) before a reader who was attached is told."""
FIRST_PATIENCE = 5.0
"""The same for a reader who is not attached yet: a wrong address should be known soon."""
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Patience:
    """Counts the failures of one reader, or of one hub, in a row."""

    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock = clock
        self._since: float | None = None
        self._pause = _FIRST_PAUSE

    @property
    def first(self) -> bool:
        """Whether there has been exactly one failure in a row."""
        return self._pause == 2 * _FIRST_PAUSE

    def succeeded(self) -> None:
        """Redis answered."""
        self._since = None
        self._pause = _FIRST_PAUSE

    def failed(self, error: StoreUnavailable) -> float:
        """Redis did not answer. Returns the seconds to wait (jittered); raises the error once the limit has passed."""
        now = self._clock()
        if self._since is None:
            self._since = now
        elif now - self._since >= self.limit:
            raise error
        pause = self._pause
        self._pause = min(_LONGEST_PAUSE, pause * 2)
        return random.uniform(pause / 2, pause)  # noqa: S311 - spreads reconnecting readers, guards nothing
