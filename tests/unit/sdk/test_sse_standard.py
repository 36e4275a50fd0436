"""Ten thousand generated streams: the parser reads what a plain reading of the standard reads, however they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noukai_sdk._protocol.sse import SSEDecoder
from tests.support import event_stream

many = settings(max_examples=2_500, deadline=None, suppress_health_check=list(HealthCheck))

LIMIT = 1 << 20
NAMES = ["step_output", "flow_completed", "step_started", "new_type", "é", "", " step_output", "step_output\t", "a:b"]


def decoded(chunks: list[bytes]) -> list[event_stream.Event]:
    decoder = SSEDecoder(LIMIT)
    events = [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.end()
    assert not decoder.overflow
    return [(name, data.decode("utf-8", "replace")) for name, data in events]


def bytewise(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


def cut(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted(place % (len(body) + 1) for place in cuts)
    return [body[a:b] for a, b in pairwise([0, *places, len(body)])]


# Text of every kind of UTF-8 length, white space of Unicode's that ends no line here, and what the format itself uses.
_TEXT = st.text(alphabet='aé€😀 :{}"1\u2028\u0085\x0b\x00\ufeff', max_size=8)
_VALUE = st.one_of(_TEXT, st.sampled_from(['{"a":1}', "[1, 2]", "x" * 40]))
_SPACE = st.sampled_from([": ", ":", ":  "])
_ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def _line(field: str, value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda space, text: field + space + text, _SPACE, value)


_FIELD = st.one_of(
    _line("data", _VALUE),
    _line("data", _VALUE),
    _line("event", st.sampled_from(NAMES)),
    _line("id", _TEXT),
    _line("retry", st.sampled_from(["10", "x"])),
    st.builds(lambda text: ":" + text, _TEXT),
    _line("unknown", _TEXT),
    st.sampled_from(["data", "event", "id", " data: x", "Data: x", "data : x"]),
)


@st.composite
def streams(draw: st.DrawFn, ends: st.SearchStrategy[str]) -> bytes:
    """Events of lines, each with its own line end; the last may lack its blank line, or more."""
    text = draw(st.sampled_from(["", "", "", "\ufeff", "\ufeff\ufeff"]))
    for lines in draw(st.lists(st.lists(_FIELD, max_size=5), max_size=5)):
        for line in [*lines, ""]:
            text += line + draw(ends)
    body = text.encode()
    return body[: len(body) - draw(st.sampled_from([0, 0, 0, 1, 2, 3, 7]))]


CUTS = st.lists(st.integers(0, 1 << 16), max_size=8)


def agrees(body: bytes, cuts: list[int]) -> None:
    expected = event_stream.read(body)
    assert decoded([body]) == expected
    assert decoded(bytewise(body)) == expected
    assert decoded(cut(body, cuts)) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@settings(many, max_examples=1_500)
@given(data=st.data(), cuts=CUTS)
def test_streams_with_one_kind_of_line_end(end: str, data: st.DataObject, cuts: list[int]) -> None:
    agrees(data.draw(streams(st.just(end))), cuts)


@settings(many, max_examples=3_000)
@given(streams(_ENDS), CUTS)
def test_streams_with_mixed_line_ends(body: bytes, cuts: list[int]) -> None:
    agrees(body, cuts)


@settings(many, max_examples=1_500)
@given(st.text(alphabet="\r\n: datevn{}1\ufeffé", max_size=60).map(str.encode), CUTS)
def test_streams_of_the_format_s_own_characters(body: bytes, cuts: list[int]) -> None:
    agrees(body, cuts)


@settings(many, max_examples=1_000)
@given(
    st.lists(st.sampled_from([b"data:", b"event:", b"\n", b"\r", b"\xef\xbb\xbf", b"\xe2\x82", b"\xff", b"a"])), CUTS
)
def test_streams_that_are_not_utf_8(pieces: list[bytes], cuts: list[int]) -> None:
    agrees(b"".join(pieces), cuts)


# The examples of 9.2.6 in bytes of our own: what each rule of the text says, so that the reference is not taken on trust.
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\ndata: b\ndata: 10\n\n", [("", "a\nb\n10")]),
        (b": comment\n\ndata: 1\nid: 1\n\ndata:2\nid\n\ndata:  3\n\n", [("", "1"), ("", "2"), ("", " 3")]),
        (b"data\n\ndata\ndata\n\ndata:", [("", ""), ("", "\n"), ("", "")]),
        (b"data:test\n\ndata: test\n\n", [("", "test"), ("", "test")]),
        (b"event: add\ndata: 1\n\nevent: remove\n\ndata: 2\n\n", [("add", "1"), ("", "2")]),
        (b"\xef\xbb\xbfdata: 1\r\n\r\ndata: 2\r\r", [("", "1"), ("", "2")]),
        (b"event: a \ndata: {}", [("a", "{}")]),
        (b"data: 1\nid: 3", []),
    ],
)
def test_the_reference_reads_what_the_standard_s_examples_show(body: bytes, expected: list[event_stream.Event]) -> None:
    assert event_stream.read(body) == expected
    agrees(body, [])
