"""This room takes the framing off a chunked body, all that has arrived at a time (RFC 9112 section 7.1).

The standard library hands out one chunk per call. A step stream is one chunk per event, so that call was most of what
an event cost.
"""

from __future__ import annotations

from functools import lru_cache

# Size, extensions, trailer fields: whoever sends more than this in a line is not sending chunks.
_LONGEST_LINE = 16 * 1024


class Dechunker:
    """Bytes in, body out. `ended` is True after the last chunk and its trailers; what follows it is ignored."""

    __slots__ = ("_in_trailers", "_left", "_rest", "ended")

    def __init__(self) -> None:
        # What is still to come of the present chunk, with the line end that closes it.
        self._left = 0
        # The start of a line whose end has not come.
        self._rest = b""
        self._in_trailers = False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """What `data` holds of the body. Raises ValueError if it is not chunked."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        body: list[bytes] = []
        position, size, left = 0, len(data), self._left
        while position < size and not self.ended:
            if left > 2:
                piece = data[position : position + left - 2]
                body.append(piece)
                position += len(piece)
                left -= len(piece)
            elif left:
                found = data[position : position + left]
                if found != b"\r\n"[2 - left :][: len(found)]:
                    raise ValueError(f"a chunk ends in {found!r}, not in a line end")
                position += len(found)
                left -= len(found)
            else:
                end = data.find(b"\n", position)
                if (size if end < 0 else end) - position > _LONGEST_LINE:
                    raise ValueError("the head of a chunk is too long")
                if end < 0:
                    self._rest = data[position:]
                    break
                left = self._take(data[position:end])
                position = end + 1
        self._left = left
        return body[0] if len(body) == 1 else b"".join(body)

    def _take(self, line: bytes) -> int:
        """Read a line between chunks; what is to come because of it."""
        if self._in_trailers:
            self.ended = line in {b"", b"\r"}
            return 0
        length = _length(line)
        self._in_trailers = length == 0
        return length + 2 if length else 0


@lru_cache(maxsize=1024)
def _length(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(b" \t\r")
    # int() would take "+5", "0x5" and "1_0" as well.
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise ValueError(f"{line[:40]!r} is not the length of a chunk")
    return int(digits, 16)
