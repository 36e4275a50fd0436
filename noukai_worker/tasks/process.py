"""Suits a worker's process to its runs: open files, rare searches for cycles, turns between threads."""

from __future__ import annotations

import gc
import resource
import sys
from contextlib import suppress

_FILES_BESIDES = 512
"""Open files that are no run's."""

_TURN = 0.0005
"""Seconds that a busy thread keeps the interpreter while another one wants it."""

_FULL_SEARCH = (10_000, 10, 10)
"""After so many new objects (their product, a million) all are searched for cycles."""


def search_rarely() -> None:
    """Search for cycles rarely; to be called before the imports: what they bring stays, and a fifth of their time is the search."""
    gc.set_threshold(*_FULL_SEARCH)


def suit(runs: int) -> None:
    """Make this process fit for so many runs at once; to be called when all is imported, before the first run."""
    allow_files(runs + _FILES_BESIDES)
    # A thousand runs are a quarter of a million objects, and a search through them holds up every run. What is there before
    # the first run need never be searched again.
    gc.freeze()
    search_rarely()


def suit_one_loop() -> None:
    """Make this process fit for an event loop that is always busy, beside Celery's thread."""
    # Celery's thread waits for the interpreter several times for each message, 5 ms each time beside a busy loop, unless told
    # otherwise: a worker with thousands of runs would take on 45 more in a second.
    sys.setswitchinterval(_TURN)


def allow_files(wanted: int) -> None:
    """Raise the soft limit of open files to what is wanted, as far as the hard one goes.

    It is 1,024 by custom, for the sake of programs that call select(); nothing here does.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < wanted:
        # Refused in some containers; then it stays what it was.
        with suppress(OSError, ValueError):
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
            )
