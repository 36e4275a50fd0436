"""A broker whose consumer_timeout is shorter than a run: it closes the channel under it, again and again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from noukai_worker.runs import Mode
from tests.integration.conftest import House
from tests.support.rabbitmq import RabbitServer
from tests.support.slow_runs import MODES, slow, was_once

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    server = RabbitServer(tmp_path_factory.mktemp("strict"), consumer_timeout=2.0)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_run_longer_than_the_consumer_timeout_is_one_run(house: House, mode: Mode) -> None:
    worker = house.worker(mode)
    runs = [slow(n, mode, seconds=8.0) for n in range(3)]
    was_once(house, runs)
    assert "PRECONDITION_FAILED - delivery acknowledgement" in worker.output(), "the broker has closed the channel"
    was_once(house, [*runs, slow(3, mode, seconds=0.1)])
