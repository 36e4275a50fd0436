"""Chunked bodies: whole, byte by byte, and beside the standard library's reader."""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noukai_sdk._http.chunks import Dechunker


class Played:
    """As much of a socket as http.client wants to see."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._data))  # type: ignore[arg-type]


def by_the_standard_library(body: bytes) -> bytes:
    response = http.client.HTTPResponse(Played(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body))  # type: ignore[arg-type]
    response.begin()
    return response.read()


def fed(pieces: list[bytes]) -> tuple[bytes, bool]:
    dechunker = Dechunker()
    return b"".join([dechunker.feed(piece) for piece in pieces]), dechunker.ended


def cut(data: bytes, at: set[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
EXTENSIONS = st.sampled_from([b"", b";a=b", b' ;x="y"', b" "])
TRAILERS = st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: b\r\nC: d\r\n"])


def framed(chunks: list[bytes], extension: bytes, trailers: bytes) -> bytes:
    lines = [b"%X%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
    return b"".join(lines) + b"0\r\n" + trailers + b"\r\n"


@given(CHUNKS, EXTENSIONS, TRAILERS, st.sets(st.integers(0, 1000), max_size=12))
def test_however_it_is_cut_the_body_is_the_same(
    chunks: list[bytes], extension: bytes, trailers: bytes, at: set[int]
) -> None:
    data = framed(chunks, extension, trailers)
    assert fed(cut(data, at)) == (b"".join(chunks), True)
    assert by_the_standard_library(data) == b"".join(chunks)


def test_byte_by_byte() -> None:
    data = framed([b"event: a\n", b"\r\n\r\n", b"x" * 300], b";n=1", b"X: y\r\n")
    assert fed([bytes([byte]) for byte in data]) == (b"event: a\n\r\n\r\n" + b"x" * 300, True)


@given(CHUNKS.filter(bool), st.integers(0, 1000))
def test_a_body_cut_short_has_not_ended(chunks: list[bytes], at: int) -> None:
    data = framed(chunks, b"", b"")
    body, ended = fed([data[: at % len(data)]])
    assert not ended
    assert b"".join(chunks).startswith(body)


def test_what_follows_the_end_is_no_body() -> None:
    assert fed([b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"]) == (b"a", True)


@pytest.mark.parametrize(
    "broken",
    [
        b"\r\n",
        b"x\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"1_0\r\n",
        b"-1\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n\n",
        b"5\r\nhello\rX",
        b"<html>" * 5000,
        b"1" * 20_000,
    ],
)
def test_what_is_not_chunked_is_an_error(broken: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        fed([broken])
    with pytest.raises(ValueError, match="chunk"):
        fed([bytes([byte]) for byte in broken])


@given(st.binary(max_size=60), st.sets(st.integers(0, 60), max_size=6))
def test_no_bytes_raise_anything_else(data: bytes, at: set[int]) -> None:
    with contextlib.suppress(ValueError):
        fed(cut(data, at))
