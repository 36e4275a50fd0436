"""The parser case by case, whole and byte by byte; its bound and its cost. Generated streams: test_sse_standard.py."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noukai_sdk._protocol.sse import SSEDecoder
from tests.support import event_stream

LIMIT = 1 << 20


def decoded(chunks: list[bytes], limit: int = LIMIT) -> tuple[list[event_stream.Event], bool]:
    decoder = SSEDecoder(limit)
    events = [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.end()
    return [(name, data.decode("utf-8", "replace")) for name, data in events], decoder.overflow


def bytewise(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


PLAIN = b'event: step_output\ndata: {"a":1}\n\nevent: flow_completed\ndata: {}\n\n'
CASES = {
    "plain": PLAIN,
    "crlf": PLAIN.replace(b"\n", b"\r\n"),
    "cr": PLAIN.replace(b"\n", b"\r"),
    "one crlf frame": b"event: a\r\ndata: 1\r\n\r\nevent: b\ndata: 2\n\n",
    "bom": b"\xef\xbb\xbf" + PLAIN,
    "half a bom": b"\xef\xbb" + PLAIN,
    "no last blank line": PLAIN[:-1],
    "no last line end": PLAIN[:-2],
    "cut name": b"data: 1\nevent: flow_comp",
    "comments": b": ping\n\n: ping\nevent: a\n: x\ndata: 1\n\n",
    "two data lines": b"event: a\ndata: {\ndata: }\n\n",
    "order": b"data: 1\nevent: a\nid: 4\nretry: 3\n\n",
    "no name": b"data: 1\n\n",
    "no data": b"event: step_output\n\nevent: a\nevent\n\n",
    "no space": b"event:a\ndata:1\n\n",
    "spaces": b"event:   step_output  \ndata:   1  \n\n",
    "empty data": b"event: a\ndata:\n\ndata\n\n",
    "many blank lines": b"\n\n\nevent: a\ndata: 1\n\n\n\n\nevent: b\ndata: 2\n\n\n",
    "last name counts": b"event: a\nevent: step_output\ndata: 1\n\n",
    "name then other field": b"event: step_output\nid: 1\ndata: 1\n\n",
    "plain and more data": b"event: step_output\ndata: 1\ndata: 2\n\n",
    "plain and name again": b"event: step_output\ndata: 1\nevent: b\n\n",
    "only a bom": b"\xef\xbb\xbf",
    "nothing": b"",
}


@pytest.mark.parametrize("body", CASES.values(), ids=CASES.keys())
def test_whole_and_bytewise_agree_with_the_standard(body: bytes) -> None:
    expected = event_stream.read(body), False
    assert decoded([body]) == expected
    assert decoded(bytewise(body)) == expected


def test_what_the_cases_mean() -> None:
    for case in ("plain", "crlf", "cr", "bom", "no last blank line", "no last line end"):
        assert decoded([CASES[case]])[0] == [("step_output", '{"a":1}'), ("flow_completed", "{}")], case
    assert decoded([CASES["cut name"]])[0] == []
    assert decoded([CASES["spaces"]])[0] == [("step_output", "  1  ")]
    assert decoded([CASES["two data lines"]])[0] == [("a", "{\n}")]


_LINES = st.sampled_from(
    [
        b"event: step_output",
        b"event: step_output ",
        b"event:flow_completed",
        b"event: new_type",
        b"event",
        b'data: {"a": 1}',
        b"data:{}",
        b"data:  x",
        b"data",
        b": ping",
        b"id: 7",
        b"nonsense",
        'data: {"é": "\u2028"}'.encode(),
        b"data: \xff",
        b"",
        b"",
        b"",
    ]
)
_ENDS = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])
_BODIES = st.one_of(
    st.lists(st.tuples(_LINES, _ENDS), max_size=25).map(lambda lines: b"".join(map(b"".join, lines))),
    st.lists(_LINES, max_size=25).map(b"\n".join),
    st.text(alphabet="\r\n: dateven{}1", max_size=60).map(str.encode),
)


@st.composite
def cut_bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    body = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xef\xbb"])) + draw(_BODIES)
    body = body[: len(body) - draw(st.integers(0, 3))]
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=8)))
    return body, [body[a:b] for a, b in pairwise([0, *cuts, len(body)])]


@given(cut_bodies(), st.integers(1, 40))
def test_the_bound_does_not_depend_on_chunking(case: tuple[bytes, list[bytes]], limit: int) -> None:
    body, chunks = case
    assert decoded(chunks, limit) == decoded([body], limit) == decoded(bytewise(body), limit)


def test_nothing_larger_than_the_bound_is_kept() -> None:
    decoder = SSEDecoder(1000)
    for _ in range(500):
        decoder.feed(b"x" * 100)
    assert decoder.overflow
    assert len(decoder._buffer) < 2000
    assert decoder.feed(PLAIN) == []


def test_time_is_linear_in_the_frame() -> None:
    def seconds(size: int) -> float:
        chunks = [b'event: a\ndata: "', *[b"y" * 4096] * (size // 4096), b'"\n\n']
        started = time.process_time()
        events, _ = decoded(chunks, limit=64 << 20)
        assert len(events) == 1
        return time.process_time() - started

    def best(size: int) -> float:
        return min(seconds(size) for _ in range(3))

    # Quadratic would be 64 times as long, linear is 8 times, or twice that where a cache is left behind; the best of
    # three and the floor keep other processes and the clock's grain out of it.
    assert best(16 << 20) < 30 * max(best(2 << 20), 0.005)
