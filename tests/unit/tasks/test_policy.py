"""The one retry classification: what may be paid twice is never tried again by itself."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from hypothesis import given
from hypothesis import strategies as st

import noukai_sdk
from noukai_worker.errors import CredentialMissing
from noukai_worker.runs import Failure
from noukai_worker.tasks.policy import Again, Hopeless, Unknown, backoff, classify


def answered(status: int, code: str | None = None, **more: Any) -> noukai_sdk.NoukaiError:
    kind = {401: noukai_sdk.AuthenticationError, 404: noukai_sdk.FlowNotFoundError, 429: noukai_sdk.RateLimitError}
    return kind.get(status, noukai_sdk.FlowExecutionError)("text", status_code=status, code=code, **more)


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 410, 413, 422, 501])
def test_what_would_be_refused_again_is_hopeless(repeatable: bool, status: int) -> None:
    assert classify(answered(status, "SAID_SO"), repeatable=repeatable) == Hopeless(Failure("SAID_SO", "text"))


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("status", [429, 503])
def test_what_was_not_taken_up_is_tried_again(repeatable: bool, status: int) -> None:
    assert classify(answered(status, "BUSY", retry_after=7.0), repeatable=repeatable) == Again(
        Failure("BUSY", "text"), 7.0
    )


@pytest.mark.parametrize("status", [408, 500, 502, 504])
def test_a_server_error_is_unknown_for_a_paid_call_and_passing_for_a_stream(status: int) -> None:
    assert isinstance(classify(answered(status), repeatable=False), Unknown)
    assert isinstance(classify(answered(status), repeatable=True), Again)


@pytest.mark.parametrize("code", ["BYOK_KEY_REJECTED", "CREDITS_EXHAUSTED"])
def test_some_server_errors_are_the_customers(code: str) -> None:
    assert isinstance(classify(answered(502, code), repeatable=True), Hopeless)


def test_a_connection_that_never_was_costs_nothing() -> None:
    refused = noukai_sdk.APIConnectionError("refused", sent=False)
    assert classify(refused, repeatable=False) == Again(Failure("api_connection", "refused"))


def test_a_connection_that_broke_may_have_cost_something() -> None:
    assert isinstance(classify(noukai_sdk.APIConnectionError("reset", sent=True), repeatable=False), Unknown)
    assert isinstance(classify(noukai_sdk.APITimeoutError("late", sent=True), repeatable=False), Unknown)
    interrupted = classify(noukai_sdk.StreamInterruptedError("cut", sent=True), repeatable=True)
    assert isinstance(interrupted, Again)
    assert interrupted.failure.code == "stream_interrupted"
    assert "checkpoint" not in interrupted.failure.message, "that is for users of the SDK"


@pytest.mark.parametrize(
    "error", [CredentialMissing("acme"), SoftTimeLimitExceeded(), ValueError("bug"), noukai_sdk.ToolCallLimitError("x")]
)
def test_everything_else_is_hopeless(error: Exception) -> None:
    for repeatable in (True, False):
        assert isinstance(classify(error, repeatable=repeatable), Hopeless)


@given(attempt=st.integers(1, 2000), chance=st.floats(0, 1), floor=st.none() | st.floats(0, 4000))
def test_the_pause_is_bounded_and_never_below_the_floor(attempt: int, chance: float, floor: float | None) -> None:
    pause = backoff(attempt, base=1.0, ceiling=60.0, floor=floor, chance=chance)
    assert pause >= (floor or 0.5)
    assert pause <= max(60.0, (floor or 0) * 1.1)


def test_the_pause_doubles() -> None:
    pauses = [backoff(n, base=1.0, ceiling=60.0, floor=None, chance=1.0) for n in (1, 2, 3, 4, 9)]
    assert pauses == [1, 2, 4, 8, 60]
