"""An event loop whose clock only moves when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class ClockLoop(asyncio.SelectorEventLoop):
    """Begins at 0 seconds."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def to(self, moment: float) -> None:
        """Let it be `moment`, and everything happen that is due."""
        self.now = moment
        for _ in range(3):
            self.run_until_complete(asyncio.sleep(0))


@contextlib.contextmanager
def clock_loop() -> Iterator[ClockLoop]:
    with contextlib.closing(ClockLoop()) as loop:
        yield loop
