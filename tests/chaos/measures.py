"""Samples of what processes use: memory and open files (Linux, /proc)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PAGE_MB = 4096 / 1e6


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment."""

    at: float
    pid: int
    megabytes: float
    files: int


class Sampler(threading.Thread):
    """Looks at the processes every so many seconds while the block runs. One that has no pid at the moment is left out."""

    def __init__(self, pids: Mapping[str, Callable[[], int]], *, every: float = 1.0) -> None:
        super().__init__(name="sampler", daemon=True)
        self._pids, self._every = pids, every
        self._samples: dict[str, list[Sample]] = {name: [] for name in pids}
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._look()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Until the block ends."""
        while not self._over.wait(self._every):
            self._look()

    def of(self, name: str) -> Sequence[Sample]:
        """All samples of a process."""
        return tuple(self._samples[name])

    def last(self, name: str) -> Sample:
        """The newest one."""
        return self._samples[name][-1]

    def _look(self) -> None:
        for name, pid_of in self._pids.items():
            try:
                pid = pid_of()
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            except OSError:
                continue
            self._samples[name].append(Sample(time.monotonic(), pid, pages * PAGE_MB, files))
