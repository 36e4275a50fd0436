"""Messages on quorum queues: how many there are, who holds them, and when the broker drops one."""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from noukai_worker import Run, enqueue
from noukai_worker.runs import State
from noukai_worker.tasks import app as apps
from noukai_worker.tasks import conf, rabbitmq
from tests.integration.conftest import House
from tests.support.processes import Process, running, until
from tests.support.rabbitmq import RabbitServer
from tests.support.slow_runs import was_once

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]


def test_a_stopping_worker_leaves_one_message_for_each_run(house: House, rabbit_server: RabbitServer) -> None:
    leaving = house.worker("stream")
    runs = [enqueue("acme/demo/slow-essay", message=f"{n}") for n in range(20)]
    until(lambda: all(house.view(run.id).step_index >= 1 for run in runs), "every run has finished a step")
    before = time.monotonic()
    assert leaving.stop(within=10) == 0
    assert time.monotonic() - before < 6
    assert rabbit_server.ready(conf.STREAM_QUEUE) == len(runs)
    house.worker("stream")
    for view in house.wait(*(run.id for run in runs)):
        assert (view.state, view.attempt) == (State.COMPLETED, 2)


def test_a_message_that_the_broker_drops_is_replaced(house: House, rabbit_server: RabbitServer) -> None:
    run = enqueue("acme/demo/hello-world", message="x")
    with Connection(rabbit_server.url) as connection:
        channel, deliveries = connection.default_channel, 0
        while message := until_empty(channel):
            deliveries += 1
            message.reject(requeue=True)
    assert deliveries == rabbitmq.DELIVERIES + 1
    assert rabbit_server.ready(conf.STREAM_QUEUE) == 0
    house.worker("stream", NOUKAI_WORKER_PICKUP="1")
    was_once(house, [run])


def until_empty(channel: Any) -> Any:
    """The queue's next message; None when it has none for a while."""
    return next((message for _ in range(50) if (message := _get(channel)) is not None), None)


def _get(channel: Any) -> Any:
    message = channel.basic_get(conf.STREAM_QUEUE)
    if message is None:
        time.sleep(0.02)  # quorum queues take a message back a moment later
    return message and channel.message_to_python(message)


def test_an_enqueuer_whose_connection_was_closed_takes_another_one_at_once(
    house: House, rabbit_server: RabbitServer
) -> None:
    enqueue("acme/demo/hello-world", message="a connection is open now")
    rabbit_server.close_all_connections()
    enqueue("acme/demo/hello-world", message="x")
    assert rabbit_server.ready(conf.STREAM_QUEUE) == 2


def test_a_message_that_the_broker_refuses_is_known_not_to_be_sent(
    house: House, rabbit_server: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    rabbit_server.ctl("set_policy", "full", "^noukai", '{"max-length":0,"overflow":"reject-publish"}')
    try:
        run = enqueue("acme/demo/hello-world", message="x")
        until(lambda: not enqueue("acme/demo/hello-world", message="x") or refused(caplog), "a message is refused")
    finally:
        rabbit_server.ctl("clear_policy", "full")
    house.worker("stream", NOUKAI_WORKER_PICKUP="1")
    house.wait(run.id)


def refused(caplog: pytest.LogCaptureFixture) -> bool:
    return "its message will be sent by a worker" in caplog.text


def test_many_threads_publish_over_few_connections(
    house: House, rabbit_server: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[Run] = []

    def some() -> None:
        runs.extend(enqueue("acme/demo/hello-world", message=f"{n}", priority=n % 10) for n in range(10))

    threads = [threading.Thread(target=some) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.id for run in runs}) == 400
    late = caplog.text.count("the broker did not answer within")  # on a busy machine
    assert 400 - late <= rabbit_server.ready(conf.STREAM_QUEUE) <= 400
    connections = rabbit_server.ctl("list_connections", "pid", "--no-table-headers").splitlines()
    assert len(connections) <= apps.current().conf.broker_pool_limit
    house.worker("stream")
    was_once(house, runs)


def test_a_delay_of_celerys_own_is_kept_by_the_broker(house: House) -> None:
    worker = house.worker("stream")
    before = time.monotonic()
    sent = apps.current().send_task("noukai.stream", ("acme/demo/hello-world", "x"), countdown=3)
    assert sent.get(timeout=30)
    assert time.monotonic() - before >= 2
    assert "eta:" not in worker.output()


def test_an_application_of_its_own_has_quorum_queues_too(
    house: House, rabbit_server: RabbitServer, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(
        f"""
from celery import Celery
from noukai_worker import configure
app = Celery("shop", broker={house.settings.broker_url!r}, backend={house.settings.redis_url!r})
configure(app)
"""
    )
    command = ["-m", "celery", "-A", "shop", "worker", "-P", "threads", "-c", "4", "-Q", conf.EXECUTE_QUEUE]
    worker = Process([sys.executable, *command], tmp_path / "shop.log", house.env | {"PYTHONPATH": str(tmp_path)})
    with running(worker):
        until(lambda: conf.EXECUTE_QUEUE in rabbit_server.kinds(), "the worker has declared its queue")
        was_once(house, [enqueue("acme/demo/hello-world", message=f"{n}", mode="execute") for n in range(4)])
        assert rabbit_server.kinds()[conf.EXECUTE_QUEUE] == "quorum"
        assert rabbit_server.kinds().get("celery") is None, "it consumes from nothing else"
    assert "Traceback" not in worker.output()
    assert "Failed" not in worker.output()


def test_the_permissions_that_the_documentation_names_are_enough(house: House, rabbit_server: RabbitServer) -> None:
    told = re.search(r"configure, write and read `(.*)` \|", (ROOT / "docs" / "brokers.md").read_text())
    assert told
    allowed = told[1].replace("\\|", "|")
    rabbit_server.ctl("set_permissions", "guest", allowed, allowed, allowed)
    try:
        worker = house.worker("stream")
        was_once(house, [enqueue("acme/demo/hello-world", message="x")])
        assert apps.current().control.ping(timeout=5, limit=1)
    finally:
        rabbit_server.ctl("set_permissions", "guest", ".*", ".*", ".*")
    assert "ACCESS_REFUSED" not in worker.output()


def test_a_worker_refuses_a_queue_of_another_kind_and_says_what_to_do(
    house: House, rabbit_server: RabbitServer
) -> None:
    with Connection(rabbit_server.url) as connection:
        connection.default_channel.queue_declare(conf.STREAM_QUEUE, durable=True, auto_delete=False)
    code = "from noukai_worker.tasks.worker import stream_worker as work; raise SystemExit(work())"
    worker = Process([sys.executable, "-c", code], house.folder / "refused.log", house.env)
    worker.start()
    until(lambda: not worker.alive, "it gives up")
    assert worker.stop() == 1
    assert f"rabbitmqctl delete_queue {conf.STREAM_QUEUE}" in worker.output()
    assert "Traceback" not in worker.output()
