"""RabbitMQ restarted, killed, down, frozen: what is accepted is accepted at once, and runs once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from noukai_worker import Run, enqueue
from noukai_worker.runs import State
from noukai_worker.tasks import rabbitmq
from tests.integration.conftest import House
from tests.support.processes import until
from tests.support.rabbitmq import RabbitServer
from tests.support.slow_runs import MODES, nothing_is_left, running, slow, was_once

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def up_again(rabbit_server: RabbitServer) -> Iterator[None]:
    """Whatever a test did to the node, the next one finds it running."""
    yield
    if rabbit_server.alive:
        rabbit_server.send(signal.SIGCONT)
    else:
        rabbit_server.start()


class Enqueuer(threading.Thread):
    """Enqueues all the time, and remembers how long each took."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []
        self.seconds: list[float] = []
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.wait(0.1) and len(self.runs) < 600:
            before = time.monotonic()
            number = len(self.runs)
            self.runs.append(slow(number, MODES[number % 2], seconds=1.0))
            self.seconds.append(time.monotonic() - before)

    def finish(self) -> list[Run]:
        self._enough.set()
        self.join()
        return self.runs


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_node_restarted_under_load_loses_and_repeats_nothing(
    house: House, rabbit_server: RabbitServer, how: str
) -> None:
    for mode in MODES:
        house.worker(mode, NOUKAI_WORKER_PICKUP="3")
    long = [slow(n, MODES[n % 2], seconds=12.0) for n in range(10)]
    until(lambda: running(house, long), "the long ones run")
    enqueuer = Enqueuer()
    enqueuer.start()
    try:
        until(lambda: len(enqueuer.runs) >= 10, "some are under way")
        getattr(rabbit_server, how)()
        down = len(enqueuer.runs)
        until(lambda: len(enqueuer.runs) >= down + 10, "some are accepted while it is down")
        rabbit_server.start()
        up = len(enqueuer.runs)
        until(lambda: len(enqueuer.runs) >= up + 10, "and some afterwards")
    finally:
        runs = enqueuer.finish()
    was_once(house, long + runs)
    print(f"\n{how}: {len(runs)} enqueued meanwhile, the slowest in {max(enqueuer.seconds):.2f} s")  # noqa: T201
    assert max(enqueuer.seconds) < 4.0
    nothing_is_left(house, rabbit_server)


def test_what_is_enqueued_while_the_broker_is_down_is_sent_when_it_is_back(
    house: House, rabbit_server: RabbitServer
) -> None:
    house.worker("stream", NOUKAI_WORKER_PICKUP="1")
    rabbit_server.stop()
    before = time.monotonic()
    runs = [enqueue("acme/demo/hello-world", message=f"{n}") for n in range(10)]
    assert time.monotonic() - before < 1.0
    assert {house.view(run.id).state for run in runs} == {State.QUEUED}
    rabbit_server.start()
    was_once(house, runs)


def test_an_enqueuer_does_not_wait_long_for_a_broker_that_does_not_answer(
    house: House, rabbit_server: RabbitServer
) -> None:
    house.worker("stream", NOUKAI_WORKER_PICKUP="1")
    was_once(house, first := [enqueue("acme/demo/hello-world", message="a connection is open now")])
    rabbit_server.send(signal.SIGSTOP)
    took = []
    for n in range(2):
        before = time.monotonic()
        first.append(enqueue("acme/demo/hello-world", message=f"{n}"))
        took.append(time.monotonic() - before)
    print(f"\nfrozen broker: {took[0]:.1f} s, then {took[1]:.1f} s")  # noqa: T201
    assert max(took) < rabbitmq.CONFIRMED_WITHIN + 1.5
    rabbit_server.send(signal.SIGCONT)
    was_once(house, first)
