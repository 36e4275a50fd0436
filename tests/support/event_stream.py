"""A reading of an event stream as WHATWG HTML 9.2.6 words it: whole, slow, and without a look at our parser.

Two departures, which `noukai_sdk._protocol.sse` documents, are marked; and an unnamed event has the name "" here,
where the standard says "message".
"""

from __future__ import annotations

import re

Event = tuple[str, str]


def read(body: bytes) -> list[Event]:
    """Name and data of each event that is dispatched."""
    # "Streams must be decoded using the UTF-8 decode algorithm": it strips one BOM and replaces what is not UTF-8.
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, rest = re.split("\r\n|\n|\r", text)
    stream = _Stream()
    for line in lines:
        stream.process(line)
    # "Once the end of the file is reached, any pending data must be discarded." Departure: it counts, unless its last
    # line was cut where one cannot tell whether it was whole; a cut `data` is found out by its JSON.
    if rest == "" or rest.startswith("data:"):
        stream.process(rest)
        stream.dispatch()
    return stream.events


class _Stream:
    """The buffers the standard names."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._event_type = ""
        self._data = ""

    def process(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line.startswith(":"):
            pass
        elif ":" in line:
            field, _, value = line.partition(":")
            self._process_field(field, value.removeprefix(" "))
        else:
            self._process_field(line, "")

    def _process_field(self, field: str, value: str) -> None:
        if field == "event":
            self._event_type = value
        elif field == "data":
            self._data += value + "\n"
        # "id" and "retry" concern reconnecting, which the step protocol does in its own way; others are ignored.

    def dispatch(self) -> None:
        if self._data != "":
            # Departure: the name is freed of surrounding ASCII white space.
            self.events.append((self._event_type.strip(" \t\n\r\v\f"), self._data.removesuffix("\n")))
        self._event_type, self._data = "", ""
