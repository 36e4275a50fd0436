"""Runs that take their time, and the proof that each was worked on once."""

from __future__ import annotations

from noukai_worker import Run, enqueue
from noukai_worker.runs import Mode, State
from noukai_worker.tasks import conf
from tests.integration.conftest import House
from tests.support.rabbitmq import RabbitServer

MODES: tuple[Mode, ...] = ("stream", "execute")


def slow(number: int, mode: Mode, *, seconds: float) -> Run:
    parameters = {"steps": 4, "events": 10, "interval": seconds / 40, "bytes": 60}
    return enqueue("acme/demo/load", message=f"{number}", mode=mode, parameters=parameters)


def running(house: House, runs: list[Run]) -> bool:
    return all(house.view(run.id).state is State.RUNNING for run in runs)


def was_once(house: House, runs: list[Run]) -> None:
    """Each completes in one attempt, and the service was called once for each."""
    for view in house.wait(*(run.id for run in runs)):
        assert (view.state, view.attempt) == (State.COMPLETED, 1)
        assert house.types(view.id).count("run.started") == 1
    assert len(house.flow_server.counts()["requests"]) == len(runs)


def nothing_is_left(house: House, broker: RabbitServer) -> None:
    """Every copy of every message was acknowledged: what a worker had not would be back in its queue when it stops."""
    for worker in house.workers:
        worker.stop()
    assert [broker.ready(queue) for queue in (conf.EXECUTE_QUEUE, conf.STREAM_QUEUE)] == [0, 0]
