"""What time it is, and how times and spans read on the wire (WIRE.md 5.3)."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Epoch seconds that never run backwards."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return now."""
        return self._offset + time.monotonic()


def timestamp(at: float | None) -> str | None:
    """Return ``at`` as ISO-8601 in UTC, ending in Z."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(begin: float, end: float | None) -> int | None:
    """Return the whole milliseconds from ``begin`` to ``end``; None while it has not ended."""
    return None if end is None else round((end - begin) * 1000)
