"""What may be sent again: only what cannot be paid twice."""

from __future__ import annotations

from typing import Any

import pytest

from noukai_sdk import APIConnectionError, APITimeoutError, NoukaiError, PoolTimeoutError
from noukai_sdk._protocol.effects import Reply, Send, Sleep
from noukai_sdk._protocol.retry import LONGEST_WAIT_SECONDS, ask


def reply(status: int, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"{}", 0.0)


def converse(method: str, max_retries: int, outcomes: list[Any]) -> tuple[Any, list[float], int]:
    """The result (or error), the waits, and the number of requests."""
    conversation = ask(Send(method, "/x"), max_retries)
    waits: list[float] = []
    sent = 0
    try:
        effect = next(conversation)
        while True:
            if isinstance(effect, Sleep):
                waits.append(effect.seconds)
                effect = conversation.send(None)
                continue
            assert isinstance(effect, Send)
            sent += 1
            assert effect.attempt == sent
            outcome = outcomes[sent - 1]
            effect = conversation.throw(outcome) if isinstance(outcome, Exception) else conversation.send(outcome)
    except StopIteration as stop:
        return stop.value, waits, sent
    except NoukaiError as error:
        return error, waits, sent


OK = reply(200)
REFUSED = APIConnectionError("refused", sent=False)


@pytest.mark.parametrize(
    ("outcome", "post", "get"),
    [
        (REFUSED, True, True),
        (reply(429), True, True),
        (reply(429, retry_after="2"), True, True),
        (reply(503, retry_after="2"), True, True),
        (reply(503), False, True),
        (reply(500), False, True),
        (reply(502), False, True),
        (reply(504), False, True),
        (reply(408), False, True),
        (reply(501), False, False),
        (reply(400), False, False),
        (reply(401), False, False),
        (reply(409), False, False),
        (reply(307), False, False),
        (APIConnectionError("reset", sent=True), False, True),
        (APITimeoutError("slow", sent=True), False, False),
        (APITimeoutError("connect", sent=False), False, False),
        (PoolTimeoutError("pool", sent=False), False, False),
        (reply(429, retry_after="61"), False, False),
    ],
)
def test_what_is_tried_again(outcome: Any, post: bool, get: bool) -> None:
    for method, again in (("POST", post), ("GET", get)):
        result, waits, sent = converse(method, 1, [outcome, OK])
        assert (sent, len(waits), result is OK) == ((2, 1, True) if again else (1, 0, False))


@pytest.mark.parametrize("outcome", [REFUSED, reply(429, retry_after="0"), reply(503, retry_after="0")])
def test_zero_means_zero(outcome: Any) -> None:
    result, waits, sent = converse("POST", 0, [outcome])
    assert isinstance(result, NoukaiError)
    assert (waits, sent) == ([], 1)


def test_waits_grow_and_are_jittered() -> None:
    result, waits, sent = converse("POST", 3, [REFUSED] * 4)
    assert result is REFUSED
    assert sent == 4
    for wait, middle in zip(waits, (1, 4, 16), strict=True):
        assert 0.75 * middle <= wait <= 1.25 * middle
    assert len({converse("POST", 1, [REFUSED, OK])[1][0] for _ in range(10)}) > 1


def test_retry_after_is_a_floor() -> None:
    _, waits, _ = converse("POST", 1, [reply(429, retry_after="30"), OK])
    assert waits == [30.0]
    assert LONGEST_WAIT_SECONDS == 60.0


def test_the_last_error_is_raised() -> None:
    result, _, _ = converse("POST", 1, [REFUSED, reply(401)])
    assert result.status_code == 401
