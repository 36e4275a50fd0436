"""Ends a supervisor's processes when the supervisor itself was killed and could not.

A separate small process that reads from a pipe only the supervisor holds open: `+pid wave` for a process that was started,
`-pid wave` for one that has ended. When the pipe closes, whatever is still listed has lost its supervisor and is stopped, last
wave first: SIGTERM, `GRACE` seconds, SIGKILL. A pipe works wherever there are processes; Linux' PR_SET_PDEATHSIG does not. It is
run as a plain file, without imports of the package, to cost nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL, for each wave."""


def orphans(lines: Iterable[str]) -> list[set[int]]:
    """The process ids that are left when the lines end, by wave, last wave first."""
    waves: dict[int, set[int]] = {}
    for line in lines:
        if not line.endswith("\n"):
            # Torn: the supervisor died while writing, and half a number names a stranger.
            break
        pid, wave = map(int, line[1:].split())
        if line[0] == "+":
            waves.setdefault(wave, set()).add(pid)
        else:
            waves[wave].discard(pid)
    return [pids for _, pids in sorted(waves.items(), reverse=True) if pids]


def end(pids: set[int], grace: float = GRACE) -> None:
    """SIGTERM, then SIGKILL for those that are still there after `grace` seconds."""
    for pid in pids:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(map(_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in filter(_exists, pids):
        _signal(pid, signal.SIGKILL)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    # It must outlive what ends its supervisor; the pipe is its only reason to go.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    for wave in orphans(sys.stdin):
        end(wave)
