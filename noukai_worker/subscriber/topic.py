"""One run as the hub knows it: its channel, its window, its readers and those of them that wait for news."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.crc import key_slot

from ..runs import keys
from .window import Window, seq_of

if TYPE_CHECKING:
    from .line import Line
    from .reader import Reader


class Topic:
    """The readers of one run in one event loop."""

    __slots__ = (
        "_gather",
        "_line",
        "_loop",
        "_resting",
        "_rung",
        "_seen",
        "_waiting",
        "channel",
        "confirmed",
        "readers",
        "run_id",
        "window",
    )

    def __init__(self, run_id: str, buffer: int, loop: asyncio.AbstractEventLoop, gather: float = 0.0) -> None:
        """gather: seconds after news in which more news is held back, to be told all at once."""
        self._loop, self._gather = loop, gather
        self._resting = self._rung = False
        self.run_id = run_id
        self.channel = keys.channel(run_id).encode()
        self.window = Window(buffer)
        self.readers: set[Reader] = set()
        self.confirmed = asyncio.Event()
        """Set while Redis is known to send us the channel."""
        self._waiting: set[asyncio.Future[bool]] = set()
        self._seen = 0
        self._line: Line | None = None

    @property
    def slot(self) -> int:
        """The run's slot on a cluster."""
        return int(key_slot(self.channel))

    def move_to(self, line: Line | None) -> None:
        """From now on the messages come over this line; None for none."""
        before, self._line = self._line, line
        if before is not None and before is not line:
            before.remove(self)
        if line is not None:
            line.add(self)

    def ring(self, raw: bytes) -> bool:
        """A message came. Returns False if it cannot be read, so that the log has to be asked."""
        seq = seq_of(raw)
        if seq is None:
            return False
        if self.window.offer(seq, raw):
            self._tell()
        return True

    def know(self, seq: int) -> None:
        """The log's last seq was looked up."""
        if self.window.know(seq):
            self._tell()

    def distrust(self) -> None:
        """The log is not what it was: every reader has to ask it."""
        self.window.reset()
        for reader in self.readers:
            reader.cursor.unread = True
        self.wake()

    def confirm(self) -> bool:
        """The subscription is in force. Returns whether a reader read the log before that, and may have missed something."""
        self.confirmed.set()
        return any(not reader.cursor.unread for reader in self.readers)

    def silent(self) -> bool:
        """Whether nothing has come since this was last asked."""
        before, self._seen = self._seen, self.window.newest
        return before == self._seen

    def trim(self) -> None:
        """Forget what all readers have been given."""
        if self.readers:
            self.window.forget(min(reader.cursor.position for reader in self.readers))

    def news(self) -> asyncio.Future[bool]:
        """True once something changes; whoever no longer waits gives it back to `dismiss`."""
        future: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.add(future)
        return future

    def dismiss(self, news: asyncio.Future[bool]) -> None:
        """Nobody waits for it any more."""
        self._waiting.discard(news)

    def wake(self) -> None:
        """Let all who wait look again."""
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(True)

    def _tell(self) -> None:
        # The first of a row is told at once, so that whoever gathers is not late, only seldom.
        if self._resting:
            self._rung = True
            return
        self.wake()
        if self._gather:
            self._resting = True
            self._loop.call_later(self._gather, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self.trim()
        if self._rung:
            self._rung = False
            self._tell()
