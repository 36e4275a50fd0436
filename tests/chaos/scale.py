"""How large a row is played: the short form is part of the tests, the long form is for a machine that has nothing else to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scale:
    """One form of all rows. `runs` and `minutes` replace what a row would choose."""

    long: bool = False
    runs: int | None = None
    minutes: float | None = None
    patience: float | None = None
    """How long to wait for runs that do not end, seconds; else as each row sees fit."""

    def of(self, short: T, long: T) -> T:
        """The value of this form."""
        return long if self.long else short

    def count(self, short: int, long: int) -> int:
        """How many runs."""
        return self.runs or self.of(short, long)

    def seconds(self, short: float, long: float) -> float:
        """How long."""
        return self.minutes * 60 if self.minutes else self.of(short, long)

    @property
    def env(self) -> dict[str, str]:
        """The settings of all processes: users' defaults in the long form, small ones where seconds must suffice."""
        if self.long:
            return {}
        return {
            "NOUKAI_WORKER_LEASE": "3",
            "NOUKAI_WORKER_PICKUP": "2",
            "NOUKAI_WORKER_SWEEP_INTERVAL": "0.5",
            "NOUKAI_WORKER_BACKOFF_BASE": "0.2",
        }

    @property
    def sweep(self) -> float:
        """The sweeper's period in seconds."""
        return self.of(0.5, 1.0)

    @property
    def lease(self) -> float:
        """A lease in seconds."""
        return self.of(3.0, 10.0)
