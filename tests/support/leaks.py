"""Law 8: every key of this project expires."""

from __future__ import annotations

from typing import Any


def immortal(client: Any) -> list[str]:
    """Keys of this project without a time to live."""
    return [key.decode() for key in client.scan_iter("noukai:*", count=1000) if client.pttl(key) == -1]
