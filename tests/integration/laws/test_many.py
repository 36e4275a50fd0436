"""Many runs at once, with real processes: each runs once, also those whose messages were lost on the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from noukai_worker import aenqueue_many, enqueue_many
from noukai_worker.runs import State
from noukai_worker.tasks import trains
from tests.integration.conftest import House

pytestmark = pytest.mark.integration
FLOW = "acme/spelling/grade-3"


def test_each_runs_once(house: House) -> None:
    house.worker("stream")
    house.worker("execute")
    runs = enqueue_many(
        [
            {"message": str(n), "mode": ("stream", "execute")[n % 2], "tenant": ("acme", None)[n % 3 == 0]}
            for n in range(30)
        ],
        flow=FLOW,
    )
    assert len({run.id for run in runs}) == 30
    for view in house.wait(*(run.id for run in runs)):
        assert (view.state, view.attempt) == (State.COMPLETED, 1)
    for run in runs:
        assert house.types(run.id).count("run.started") == 1


def test_from_an_event_loop(house: House) -> None:
    house.worker("stream")
    runs = asyncio.run(aenqueue_many([{"message": str(n), "idempotency_key": f"k{n}"} for n in range(5)], flow=FLOW))
    assert [view.state for view in house.wait(*(run.id for run in runs))] == [State.COMPLETED] * 5


def test_messages_lost_half_way_are_sent_by_a_sweeper(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    real, sent = trains.Train.add, 0

    def add(self: trains.Train, *message: Any) -> None:
        nonlocal sent
        sent += 1
        if sent > 10:
            raise OperationalError("the broker went away")
        real(self, *message)

    monkeypatch.setattr(trains.Train, "add", add)
    monkeypatch.setattr(trains, "_COMMANDS", 4)
    monkeypatch.setattr(trains, "_PAUSES", ())
    runs = enqueue_many([{"message": str(n)} for n in range(20)], flow=FLOW)
    assert len(runs) == 20
    house.worker("stream")
    for view in house.wait(*(run.id for run in runs)):
        assert (view.state, view.attempt) == (State.COMPLETED, 1)
