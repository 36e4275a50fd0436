from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from fastapi import Request

from noukai_worker.errors import InvalidRequest, PayloadTooLarge
from noukai_worker.web.bodies import json_object, submission
from noukai_worker.web.refusals import Refusal


class Body:
    """A request whose body comes in pieces; counts how many were asked for."""

    def __init__(self, pieces: Iterable[bytes], **headers: str) -> None:
        self._pieces = list(pieces)
        self.read = 0
        headers = {"content_type": "application/json; charset=utf-8", **headers}
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.request = Request({"type": "http", "headers": raw}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        self.read += 1
        piece = self._pieces[self.read - 1] if self.read <= len(self._pieces) else b""
        return {"type": "http.request", "body": piece, "more_body": self.read < len(self._pieces)}


ORDER = {"flow": "acme/demo/hello", "message": "é\n", "delay": 1.5, "priority": 3, "metadata": {"a": [1, None]}}


def test_whole_and_byte_by_byte() -> None:
    body = json.dumps(ORDER).encode()
    for pieces in ([body], [body[n : n + 1] for n in range(len(body))]):
        assert asyncio.run(submission(Body(pieces).request, 1_000)) == ORDER


def test_an_announced_size_over_the_limit_is_refused_unread() -> None:
    body = Body([b"x"], content_length="1001")
    with pytest.raises(PayloadTooLarge):
        asyncio.run(json_object(body.request, 1_000))
    assert body.read == 0


def test_reading_stops_at_the_limit() -> None:
    body = Body([b"x" * 400] * 100)
    with pytest.raises(PayloadTooLarge):
        asyncio.run(json_object(body.request, 1_000))
    assert body.read == 3


def test_what_is_escaped_may_be_larger_than_what_is_kept() -> None:
    body = json.dumps({"flow": "a/b/c", "message": "é" * 30_000}).encode()
    assert len(body) > 100_000
    assert asyncio.run(submission(Body([body]).request, 61_000))["message"] == "é" * 30_000


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"flow": "a/b/c", "mesage": "x"}', "mesage: no such field; known are flow"),
        (b'{"flow": "a/b/c", "idempotency_key": "x"}', "Idempotency-Key"),
        (b'{"message": "x"}', "flow: "),
    ],
)
def test_a_mistake_is_named(body: bytes, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        asyncio.run(submission(Body([body]).request, 1_000))


@pytest.mark.parametrize("kind", ["", "text/plain", "application/jsonp", "multipart/form-data"])
def test_only_json_is_read(kind: str) -> None:
    with pytest.raises(Refusal) as caught:
        asyncio.run(json_object(Body([b"{}"], content_type=kind).request, 1_000))
    assert caught.value.status == 415
