"""How a worker with the asyncio pool ends: quickly, quietly, and without losing a message."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.integration


def test_sigterm_on_an_idle_worker(worker: Any) -> None:
    worker.result(worker.send("adding", 1, 1))
    assert worker.stop() < 1.5
    assert worker.process.returncode == 0
    assert worker.printed == ""


def test_sigterm_puts_the_messages_of_50_running_tasks_back(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker()
    ids = {worker.send("sleep", 60) for _ in range(50)}
    until(lambda: worker.evidence("began").keys() == ids)
    assert worker.stop() < 5
    assert worker.process.returncode == 0
    assert worker.evidence("cancelled") == dict.fromkeys(ids, "drain,True")
    assert (worker.queued, worker.unacked) == (50, 0)
    assert {worker.meta(task_id)["status"] for task_id in ids} == {"STARTED"}
    assert worker.printed == ""


def test_a_restarted_worker_runs_what_was_put_back(start_worker: Any, until: Callable[..., Any]) -> None:
    first = start_worker()
    ids = [first.send("sleep", 2.0) for _ in range(20)]
    until(lambda: len(first.evidence("began")) == 20)
    first.stop()
    second = start_worker()
    assert [second.result(task_id) for task_id in ids] == ["slept"] * 20
    until(lambda: second.unacked == 0, what="all acknowledged")


def test_bodies_that_handle_the_drain_are_acknowledged(worker: Any, until: Callable[..., Any]) -> None:
    ids = {worker.send("checkpointed", 60) for _ in range(50)}
    until(lambda: worker.evidence("began").keys() == ids)
    assert worker.stop() < 5
    assert worker.evidence("checkpoint") == dict.fromkeys(ids, "True")
    assert (worker.queued, worker.unacked) == (0, 0)
    assert worker.printed == ""


def test_waiting_tasks_are_put_back_unbegun(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker("--prefetch-multiplier", "10", concurrency=1)
    for _ in range(10):
        worker.send("sleep", 60)
    until(lambda: worker.unacked == 10 and len(worker.evidence("began")) == 1)
    worker.stop()
    assert (worker.queued, worker.unacked) == (10, 0)
    assert len(worker.evidence("began")) == 1


def test_an_early_acknowledged_task_is_reported_lost(worker: Any, until: Callable[..., Any]) -> None:
    task_id = worker.send("sleep_acked_early", 60)
    until(lambda: task_id in worker.evidence("began"))
    worker.stop()
    meta = worker.meta(task_id)
    assert (meta["status"], type(meta["result"]).__name__) == ("FAILURE", "WorkerLostError")


def test_a_body_that_swallows_its_cancellation_is_left_behind(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker(pool="worker_app:ImpatientPool")
    task_id = worker.send("stubborn", 60)
    until(lambda: task_id in worker.evidence("began"))
    assert worker.stop() < 5
    assert (worker.queued, worker.unacked) == (1, 0)
    assert "it is abandoned" in worker.output
    assert "destroyed" not in worker.output


def test_without_draining_running_tasks_are_waited_for(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker(pool="worker_app:WaitingPool")
    task_id = worker.send("sleep", 1.0)
    until(lambda: task_id in worker.evidence("began"))
    worker.stop()
    assert worker.result(task_id) == "slept"
    assert (worker.queued, worker.unacked) == (0, 0)


def test_sigquit_puts_running_tasks_back(worker: Any, until: Callable[..., Any]) -> None:
    ids = {worker.send("sleep", 60) for _ in range(20)}
    until(lambda: worker.evidence("began").keys() == ids)
    assert worker.stop(signal.SIGQUIT) < 5
    assert worker.evidence("cancelled") == dict.fromkeys(ids, "drain,True")
    assert (worker.queued, worker.unacked) == (20, 0)


def test_resources_generators_and_background_tasks_are_closed(worker: Any, until: Callable[..., Any]) -> None:
    task_id = worker.send("opens_resources")
    until(lambda: task_id in worker.evidence("began"))
    worker.result(task_id)
    assert worker.stop() < 3
    rows = worker.broker.client.lrange("evidence", 0, -1)
    assert rows[1:] == ["closed resource::", "cancelled background::", "closed generator::"]
    assert worker.printed == ""


def test_a_task_whose_result_is_being_stored_is_finished_and_not_drained(
    start_worker: Any, second_server: Any, until: Callable[..., Any]
) -> None:
    worker = start_worker(backend=second_server)
    ids = [worker.send("sleep_with_hook", 1.0) for _ in range(5)]
    until(lambda: worker.evidence("began").keys() == set(ids))
    second_server.process.send_signal(signal.SIGSTOP)
    until(lambda: len(worker.evidence("slept")) == 5)
    worker.process.send_signal(signal.SIGTERM)
    until(lambda: "Warm shutdown" in worker.output)
    second_server.process.send_signal(signal.SIGCONT)
    worker.process.wait(10)
    assert [worker.result(task_id) for task_id in ids] == ["slept"] * 5
    assert worker.evidence("returned").keys() == set(ids)
    assert (worker.queued, worker.unacked) == (0, 0)


def test_a_stalled_result_backend_does_not_hold_the_worker(
    start_worker: Any, second_server: Any, until: Callable[..., Any]
) -> None:
    worker = start_worker(backend=second_server)
    worker.result(worker.send("adding", 1, 1))
    second_server.process.send_signal(signal.SIGSTOP)
    for n in range(3):
        worker.app.send_task("worker_app.adding", (n, n))
    until(lambda: worker.unacked == 3)
    assert worker.stop() < 9
    assert worker.queued == 3
