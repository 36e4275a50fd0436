from __future__ import annotations

from typing import Any

import pytest

import noukai_worker
from noukai_worker.errors import InvalidRequest
from noukai_worker.subscriber import Hub, Subscription, subscribe


@pytest.mark.parametrize("after", [-1, 1.5, "3", None, True, 2**60])
def test_a_position_that_makes_no_sense_is_refused_at_once(after: Any) -> None:
    with pytest.raises(InvalidRequest, match="after: "):
        subscribe("r", after=after)


@pytest.mark.parametrize("run_id", ["", None, 7, b"r"])
def test_an_id_that_makes_no_sense_is_refused_at_once(run_id: Any) -> None:
    with pytest.raises(InvalidRequest, match="run_id: "):
        subscribe(run_id)


def test_the_door_gives_the_function() -> None:
    assert Hub  # the room was imported first
    subscription = noukai_worker.subscribe("r", after=3, redis_url="redis://127.0.0.1:1/0")
    assert isinstance(subscription, Subscription)
    assert (subscription.run_id, subscription.position, subscription.ended) == ("r", 3, False)


def test_closing_what_was_never_opened_does_nothing() -> None:
    with subscribe("r") as subscription:
        subscription.close()
    subscription.close()
