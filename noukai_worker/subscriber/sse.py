"""Server-sent events: how an entry looks on the wire (WHATWG HTML, 9.2 Server-sent events). Pure functions.

An entry's `id:` is its seq, so a browser's `Last-Event-ID` is a position; `event:` is its type; `data:` is the entry's JSON, the
very text that is on the channel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..runs import Entry

KEEP_ALIVE = b": keep-alive\n\n"

_LINE_END = re.compile(rb"\r\n|\n|\r")
_HEAD = re.compile(rb'\{"run_id":"[^"\\]*","seq":([0-9]{1,15}),"type":"([^"\\]*)",')
"""Where an entry has what its frame needs, as our script writes it."""


def frame(data: bytes, *, event: str | None = None, id: int | None = None) -> bytes:  # noqa: A002 - the field's name
    """One event. A line end in `data` starts another `data:` field; one in `event`, which cannot be sent, becomes a space."""
    lines = []
    if id is not None:
        lines.append(b"id: %d" % id)
    if event is not None:
        lines.append(b"event: " + _LINE_END.sub(b" ", event.encode()))
    lines += (b"data: " + line for line in _LINE_END.split(data))
    return b"\n".join(lines) + b"\n\n"


def frames(entries: Iterable[Entry]) -> bytes:
    """Entries as one piece of the stream."""
    return b"".join([_framed(entry) for entry in entries])


def _framed(entry: Entry) -> bytes:
    raw = entry.raw
    head = _HEAD.match(raw)
    if head is None or b"\n" in raw or b"\r" in raw:
        return frame(raw, event=entry.type, id=entry.seq)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (*head.groups(), raw)


class Framer:
    """Makes a piece once for all readers who are given the very same entries, one after the other."""

    def __init__(self) -> None:
        self._last: tuple[Sequence[Entry], bytes] = (), b""

    def frames(self, entries: Sequence[Entry]) -> bytes:
        """The same as the function."""
        known, piece = self._last
        if known is not entries:
            piece = frames(entries)
            self._last = entries, piece
        return piece


def comment(text: str) -> bytes:
    """A comment, which readers skip; it keeps proxies from closing a silent connection."""
    return b": " + _LINE_END.sub(b" ", text.encode()) + b"\n\n"


def retry(milliseconds: int) -> bytes:
    """Tell the browser how long to wait before it reconnects."""
    return b"retry: %d\n\n" % milliseconds
