from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from noukai_worker.errors import TokenRejected
from noukai_worker.runs import Entry, RunView, State
from noukai_worker.web.access import admit, idempotency_key
from noukai_worker.web.refusals import Refusal

VIEW = RunView(
    id="r",
    flow="a/b/c",
    mode="stream",
    state=State.FAILED,
    attempt=2,
    position=9,
    created_at=1_795_327_200.123,
    updated_at=1_795_327_201.0,
    deadline=None,
    step_index=1,
    step_count=3,
    execution_id="e",
    metadata={"user": 7},
    last=Entry("r", 9, "run.failed", "t", 2, {"code": "auth", "message": "no key"}, raw=b""),
    token="sécret",
)


def request(query: str = "", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope: dict[str, Any] = {"type": "http", "headers": raw, "query_string": query.encode()}
    return Request(scope)


@pytest.mark.parametrize(
    "asked",
    [
        request("token=s%C3%A9cret"),
        request(x_noukai_token="foreign", cookie="a=b; noukai_token=foreign", query="token=s%C3%A9cret"),
        request(authorization="Basic xyz", query="token=s%C3%A9cret"),
    ],
)
def test_any_place_may_hold_the_token(asked: Request) -> None:
    admit(asked, VIEW)


@pytest.mark.parametrize("asked", [request(), request("token="), request(authorization="Basic sécret")])
def test_no_token(asked: Request) -> None:
    with pytest.raises(Refusal) as caught:
        admit(asked, VIEW)
    assert (caught.value.status, caught.value.code) == (401, "token_required")
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize("asked", [request("token=secret"), request("token=s"), request(authorization="Bearer x")])
def test_a_foreign_token(asked: Request) -> None:
    with pytest.raises(TokenRejected):
        admit(asked, VIEW)


pairs = st.tuples(st.text(":0123ab", max_size=6), st.text(":0123ab", min_size=1, max_size=6))


@given(pairs, pairs)
def test_two_callers_never_share_a_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    scoped = [idempotency_key(request(idempotency_key=key), identity) for identity, key in (one, other)]
    assert (scoped[0] == scoped[1]) is (one == other)


def test_no_key_and_impossible_keys() -> None:
    assert idempotency_key(request(), "me") is None
    for key in ("", "x" * 256):
        with pytest.raises(Refusal):
            idempotency_key(request(idempotency_key=key), "me")
    longest = idempotency_key(request(idempotency_key="x" * 255), "me" * 1_000)
    assert longest is not None
    assert len(longest) <= 255


def test_a_view_shows_times_and_failure_and_no_token() -> None:
    view = VIEW.public()
    assert "token" not in view
    assert view["created_at"] == "2026-11-22T06:00:00.123Z"
    assert view["updated_at"] == "2026-11-22T06:00:01.000Z"
    assert view["deadline"] is None
    assert (view["status"], view["result"]) == ("failed", None)
    assert view["error"] == {"code": "auth", "message": "no key"}
    completed = replace(VIEW, state=State.COMPLETED, last=replace(VIEW.last, data={"result": [1]}))
    assert (completed.public()["result"], completed.public()["error"]) == ([1], None)
