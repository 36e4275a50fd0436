"""What the run store does for Celery: a result is written beside the runs, with the same trip as a run's end."""

from __future__ import annotations

from .. import keys
from ..model import Lease
from .operation import Operation


def tell(lease: Lease, key: str, value: bytes, *, lifetime: int) -> Operation[bool]:
    """If this attempt has completed the run, write the task's result where Celery's Redis backend looks for it, and ring its bell.

    The answer is whether that was so. It is kept for `lifetime` seconds. For a single server: a run and
    Celery's result are in two slots.
    """
    return Operation("tell", (key, keys.run(lease.run_id)), (value, lifetime, lease.attempt), bool)
