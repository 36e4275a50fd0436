"""Connections that RabbitMQ closes, for whatever reason: runs go on, none begins twice, and the worker is whole afterwards."""

from __future__ import annotations

import pytest

from noukai_worker.runs import Mode
from tests.integration.conftest import House
from tests.support.processes import Worker, until
from tests.support.rabbitmq import RabbitServer
from tests.support.slow_runs import MODES, nothing_is_left, running, slow, was_once

pytestmark = pytest.mark.integration


def connected(worker: Worker, times: int) -> None:
    until(lambda: worker.output().count("Connected to amqp") == times, "it is connected again")


def until_delivered_again(workers: list[Worker], copies: int) -> None:
    until(
        lambda: sum(worker.output().count("has nothing to do") for worker in workers) >= copies,
        "every message is delivered again, and turned away",
    )


@pytest.mark.parametrize("mode", MODES)
def test_connections_closed_in_mid_run_start_nothing_twice(
    house: House, rabbit_server: RabbitServer, mode: Mode
) -> None:
    workers = [house.worker(mode) for _ in range(2)]
    runs = [slow(n, mode, seconds=10.0) for n in range(20)]
    until(lambda: running(house, runs), "every run has begun")
    for connections in (1, 2):
        rabbit_server.close_all_connections()
        for worker in workers:
            connected(worker, connections + 1)
        # Once: the copies are acknowledged.
        until_delivered_again(workers, len(runs))
    assert running(house, runs)
    was_once(house, runs)
    assert sum(worker.output().count("has nothing to do") for worker in workers) >= len(runs), (
        "all were delivered again"
    )
    nothing_is_left(house, rabbit_server)


def test_a_worker_that_has_reconnected_works_at_full_width(house: House, rabbit_server: RabbitServer) -> None:
    worker = house.worker("execute", NOUKAI_WORKER_EXECUTE_CONCURRENCY="4")
    first = [slow(n, "execute", seconds=3.0) for n in range(4)]
    until(lambda: running(house, first), "it is full")
    rabbit_server.close_all_connections()
    connected(worker, 2)
    house.wait(*(run.id for run in first))
    second = [slow(n, "execute", seconds=3.0) for n in range(4, 8)]
    until(lambda: running(house, second), "it is full again")
    was_once(house, first + second)
    connected(worker, 2)
