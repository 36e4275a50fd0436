"""This room splits a byte stream into server-sent events (WHATWG HTML, section 9.2.6), linearly and within a bound.

Two departures from the standard, both in favour of not losing an event: an event at the end of the body counts without
its blank line (the caller checks that its JSON is whole), and the name is freed of surrounding spaces.
"""

from __future__ import annotations

from noukai_sdk._models.events import event_names

_BOM = b"\xef\xbb\xbf"
# What a plain frame starts with, by event name: the fast path is one look-up.
_PLAIN_HEADS = {b"event: " + name.encode(): name for name in event_names}
_NAMES = {name.encode(): name for name in event_names}

Event = tuple[str, bytes]


class SSEDecoder:
    """Bytes in, (name, data) out. The name is empty if the event has none.

    `overflow` becomes True when one event is larger than `max_frame_bytes`; from then on nothing comes out.
    """

    __slots__ = ("_buffer", "_ends_in_cr", "_limit", "_start", "overflow")

    def __init__(self, max_frame_bytes: int) -> None:
        self._buffer = bytearray()
        self._ends_in_cr = False
        self._limit = max_frame_bytes
        self._start: bytes | None = b""
        self.overflow = False

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        if self._start is not None:
            chunk = self._without_bom(self._start + chunk)
        if self._ends_in_cr or b"\r" in chunk:
            chunk = self._with_lf_only(chunk)
        if not chunk or self.overflow:
            return []
        buffer = self._buffer
        if buffer:
            # The separator may straddle two chunks; what was searched before is not searched again.
            searched = len(buffer) - 1
            buffer += chunk
            if buffer.find(b"\n\n", searched) < 0:
                # One byte more than the limit may be the first half of a separator.
                self.overflow = len(buffer) > self._limit + 1
                return []
            chunk = bytes(buffer)
            buffer.clear()
        blocks = chunk.split(b"\n\n")
        rest = blocks.pop()
        events = self._events(blocks, may_be_large=len(chunk) > self._limit)
        if rest:
            buffer += rest
            if len(rest) > self._limit + 1:
                self.overflow = True
        return events

    def end(self) -> list[Event]:
        """What is left at the end of the body: an event without its blank line, if it may be whole."""
        rest = (self._start or b"") + bytes(self._buffer)
        self._start = None
        self._buffer.clear()
        last_line = rest.rpartition(b"\n")[2]
        # A cut name would be another name; a cut JSON object is found out by parsing.
        if self.overflow or not (last_line == b"" or last_line.startswith(b"data:")):
            return []
        return self._events([rest.removesuffix(b"\n")], may_be_large=True)

    def _events(self, blocks: list[bytes], *, may_be_large: bool) -> list[Event]:
        events = []
        for block in blocks:
            if may_be_large and len(block) > self._limit:
                self.overflow = True
                break
            head, separator, data = block.partition(b"\ndata: ")
            name = _PLAIN_HEADS.get(head)
            if name is not None and separator and b"\n" not in data:
                events.append((name, data))
            elif (event := parse_block(block)) is not None:
                events.append(event)
        return events

    def _without_bom(self, head: bytes) -> bytes:
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._start = head
            return b""
        self._start = None
        return head.removeprefix(_BOM)

    def _with_lf_only(self, chunk: bytes) -> bytes:
        if self._ends_in_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._ends_in_cr = False
        if chunk:
            self._ends_in_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def parse_block(block: bytes) -> Event | None:
    """The event in the lines between two blank ones; None if they carry no data."""
    name, lines = b"", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.strip()
    if not lines:
        return None
    return _NAMES.get(name) or name.decode("utf-8", "replace"), b"\n".join(lines)
