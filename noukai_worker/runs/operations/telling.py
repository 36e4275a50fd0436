"""What the run store does for Celery: a result is written beside the runs, with the same trip as everything else."""

from __future__ import annotations

from .operation import Operation


def tell(key: str, value: bytes, *, lifetime: int) -> Operation[None]:
    """Write a task's result where Celery's Redis backend looks for it, for `lifetime` seconds, and ring its bell."""
    return Operation("tell", (key,), (value, lifetime), lambda _: None)
