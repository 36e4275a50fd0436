from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from noukai_worker.runs.operations import parse_entry
from noukai_worker.subscriber import sse


@dataclass
class Reference:
    """An event stream's reader as WHATWG HTML 9.2.6 describes it, fed piece by piece."""

    events: list[tuple[str, str, str]] = field(default_factory=list)
    retry: int | None = None
    last_id: str = ""
    comments: list[str] = field(default_factory=list)
    _type: str = ""
    _data: list[str] = field(default_factory=list)
    _rest: bytes = b""

    def feed(self, piece: bytes) -> None:
        # Our stream ends lines with LF alone; CR and CRLF would end one, too.
        *lines, self._rest = re.split(rb"\r\n|\n|\r", self._rest + piece)
        for line in lines:
            self._line(line.decode())

    def _line(self, line: str) -> None:
        if not line:
            if self._data:
                self.events.append((self._type or "message", "\n".join(self._data), self.last_id))
            self._type, self._data = "", []
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments.append(value)
        elif name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id":
            self.last_id = value
        elif name == "retry" and value.isdecimal():
            self.retry = int(value)


def parsed(stream: bytes) -> Reference:
    """What the reference makes of it, fed whole and byte by byte."""
    whole, bytewise = Reference(), Reference()
    whole.feed(stream)
    for n in range(len(stream)):
        bytewise.feed(stream[n : n + 1])
    assert whole == bytewise
    return whole


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts, st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1))
@example("", "x")
@example("\n", "x")
@example(" leading space\r\nand: colon\rdata: x\n\nevent: y", "a: b")
def test_a_frame_arrives_as_it_was_meant(data: str, event: str) -> None:
    read = parsed(sse.frame(data.encode(), event=event, id=7))
    assert read.events == [(event, re.sub("\r\n|\r", "\n", data), "7")]


@given(texts)
def test_a_line_end_in_a_type_cannot_forge_a_field(event: str) -> None:
    read = parsed(sse.frame(b"{}", event=event + "\ndata: forged\r\n\r\nid: 9", id=1))
    assert [(data, last_id) for _, data, last_id in read.events] == [("{}", "1")]


@given(texts)
def test_a_comment_is_nothing_but_a_comment(text: str) -> None:
    read = parsed(sse.comment(text))
    assert (read.events, read.last_id, len(read.comments)) == ([], "", 1)
    assert parsed(sse.KEEP_ALIVE).comments == ["keep-alive"]


def test_retry_tells_the_browser_to_wait() -> None:
    assert parsed(sse.retry(2_500)).retry == 2_500


def test_entries_are_framed_as_they_were_published() -> None:
    raws = [
        json.dumps({"run_id": "r", "seq": seq, "type": kind, "at": "t", "attempt": 1, "data": {"é": "\n"}}).encode()
        for seq, kind in ((1, "run.queued"), (2, "run.completed"))
    ]
    read = parsed(sse.frames(map(parse_entry, raws)))
    assert read.events == [("run.queued", raws[0].decode(), "1"), ("run.completed", raws[1].decode(), "2")]


def test_a_piece_for_many_readers_is_made_once_and_is_theirs() -> None:
    framer = sse.Framer()
    raw = b'{"run_id":"r","seq":%d,"type":"t","at":"a","attempt":1,"data":{}}'
    first, second = ([parse_entry(raw % seq)] for seq in (1, 2))
    piece = framer.frames(first)
    assert framer.frames(first) is piece
    assert [framer.frames(entries) for entries in (second, first, [])] == [sse.frames(second), sse.frames(first), b""]
