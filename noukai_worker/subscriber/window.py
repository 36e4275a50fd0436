"""Joins the log and the channel of a run: which entries a reader gets next, and when it must ask the log. No I/O.

The rules, in words:

* The channel may lose, repeat and reorder messages. The log is the truth; both number entries 1, 2, 3 …
* A window holds the newest entries that came over the channel, as one stretch without a hole. All readers of a run share it.
* A reader has a position, the last entry it was given. What follows comes from the window if the window has it; otherwise, if
  anything newer is known to exist, from the log.
* So a reader that falls behind costs no memory: the window moves on, and the reader goes back to the log.
* `run.failed` is read from the log alone: when a failed run is redriven, `run.retrying` takes its place and its number, and who has
  not been given the end must not be given it any more. Who has been given it has ended; coming back, it goes on behind that number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..runs import Entry
from ..runs.answers import Page
from ..runs.entry import parse_entry, unread

WINDOW_BYTES = 1 << 20
PAGE_ENTRIES = 500
PAGE_BYTES = 1 << 18
_FIRST_PAGE = 100

_SEQ = re.compile(rb'\{"run_id":"[^"\\]*","seq":([0-9]{1,15}),')
_FAILED = b'"run.failed"'
_HEAD = 1 << 9
"""Where the type of an entry is, in bytes: `data` is its last member."""


def seq_of(raw: bytes) -> int | None:
    """The number of an entry, from its JSON text as our script writes it or anybody else would; None if it is not one."""
    match = _SEQ.match(raw)
    if match:
        return int(match[1])
    try:
        return parse_entry(raw).seq
    except (ValueError, KeyError, TypeError):
        return None


class Window:
    """The newest entries of one run: at most `entries` of them and `size` bytes of JSON."""

    __slots__ = ("_bytes", "_entries", "_first", "_given", "_last", "_limit", "_size", "newest")

    def __init__(self, entries: int, size: int = WINDOW_BYTES) -> None:
        self._limit, self._size = entries, size
        self.newest = 0
        """The highest seq that is known to exist, here or in the log."""
        self._entries: dict[int, Entry] = {}
        self._first, self._last, self._bytes = 1, 0, 0
        self._given: Sequence[Entry] = ()

    def __len__(self) -> int:
        return len(self._entries)

    def offer(self, seq: int, raw: bytes) -> bool:
        """Take a message from the channel. Returns whether it is news: higher than all that was known."""
        if seq > self._last and raw.find(_FAILED, 0, _HEAD) < 0:
            if seq > self._last + 1:
                self._clear(seq - 1)
            self._entries[seq] = unread(raw)
            self._last = seq
            self._bytes += len(raw)
            while len(self._entries) > self._limit or self._bytes > self._size:
                self._drop_first()
        return self.know(seq)

    def know(self, seq: int) -> bool:
        """Take note that entries up to `seq` exist. Returns whether that is news."""
        if seq <= self.newest:
            return False
        self.newest = seq
        return True

    def after(self, position: int) -> Sequence[Entry]:
        """The entries that follow `position`; none if the first of them is not here.

        Readers who stand at one place are given one and the same sequence: what is made of it can be made once.
        """
        if position + 1 not in self._entries:
            return []
        given = self._given
        if not (given and given[0].seq == position + 1 and given[-1].seq == self._last):
            self._given = given = tuple(self._entries[seq] for seq in range(position + 1, self._last + 1))
        return given

    def forget(self, position: int) -> None:
        """Drop what every reader has been given."""
        while self._entries and self._first <= position:
            self._drop_first()

    def reset(self) -> None:
        """Drop everything, also what is known: the log is not what it was."""
        self.newest = 0
        self._clear(0)

    def _clear(self, last: int) -> None:
        self._entries.clear()
        self._given = ()
        self._first, self._last, self._bytes = last + 1, last, 0

    def _drop_first(self) -> None:
        self._given = ()
        self._bytes -= len(self._entries.pop(self._first).raw)
        self._first += 1


class Cursor:
    """One reader's way through a run: `take` from the window, `fill` from the log, until `ended`."""

    __slots__ = ("_window", "ended", "limit", "position", "unread")

    def __init__(self, window: Window, after: int) -> None:
        self._window = window
        self.position = after
        """The last seq that was handed out."""
        self.ended = False
        """Whether the terminal entry was handed out, now or before."""
        self.unread = True
        """Whether the log must be read whatever the window says: on attaching, and when the log may have changed."""
        self.limit = _FIRST_PAGE
        """How many entries to ask the log for, so that a page stays near PAGE_BYTES."""

    @property
    def behind(self) -> bool:
        """Whether the log has to be read now (if `take` gave nothing)."""
        return self.unread or self._window.newest > self.position

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do but wait for news."""
        return not (self.ended or self.behind)

    def take(self) -> Sequence[Entry]:
        """What the window has for this reader; nothing as long as the log must be read first."""
        if self.unread or self._window.newest <= self.position:
            return ()
        return self._hand_out(self._window.after(self.position))

    def fill(self, page: Page) -> Sequence[Entry]:
        """Take a page of the log that was read after `position`."""
        self.unread = False
        self._window.know(page.last)
        if page.entries:
            average = sum([len(entry.raw) for entry in page.entries]) // len(page.entries)
            self.limit = max(1, min(PAGE_ENTRIES, PAGE_BYTES // max(1, average)))
        elif page.state.terminal:
            self.ended = True
        return self._hand_out(page.entries)

    def _hand_out(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        if entries:
            self.position = entries[-1].seq
            self.ended = entries[-1].terminal
        return entries
