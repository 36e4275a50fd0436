"""Tasks on the asyncio pool of a real worker: who they are, how they end, what Celery is told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.integration


def test_200_interleaved_tasks_know_who_they_are(worker: Any, until: Callable[..., Any]) -> None:
    began = time.monotonic()
    ids = [worker.send("identify", 0.5) for _ in range(200)]
    for task_id in ids:
        assert worker.result(task_id) == [task_id] * 8
    assert time.monotonic() - began < 200 * 1.0 / 10, "they did not run at the same time"
    until(lambda: worker.unacked == 0, what="all acknowledged")


def test_the_same_body_runs_in_other_pools(start_worker: Any) -> None:
    here = start_worker()
    assert here.result(here.send("where")) == [True, "asyncio-pool"]
    here.stop()
    for pool in ("threads", "solo"):
        there = start_worker(pool=pool, concurrency=2)
        in_pool, thread = there.result(there.send("where"))
        assert (in_pool, thread != "asyncio-pool") == (False, True)
        there.stop()


@pytest.mark.parametrize("kind", ["plain", "exit", "exit in a child", "stray cancellation"])
def test_a_failing_body_is_reported_and_harms_nobody(worker: Any, until: Callable[..., Any], kind: str) -> None:
    bystander = worker.send("sleep", 1.0)
    until(lambda: bystander in worker.evidence("began"))
    meta = worker.state(worker.send("failing", kind), "FAILURE")
    expected = {"plain": "ValueError", "stray cancellation": "RuntimeError"}.get(kind, "WorkerLostError")
    assert type(meta["result"]).__name__ == expected
    assert worker.result(bystander) == "slept"
    until(lambda: worker.unacked == 0, what="all acknowledged")


def test_retry_inside_a_coroutine(worker: Any) -> None:
    assert worker.result(worker.send("retrying", 3)) == 3


def test_publishing_from_a_coroutine_keeps_the_parent(worker: Any, until: Callable[..., Any]) -> None:
    task_id = worker.send("follow_up")
    child = worker.result(task_id)
    assert until(lambda: worker.evidence("parent").get(child)) == task_id


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # by Celery 5.6.3 with redis-py 8
def test_links_and_chords(worker: Any, until: Callable[..., Any]) -> None:
    from celery import chord, signature

    add = [signature("worker_app.adding", (n, n), app=worker.app) for n in range(5)]
    body = signature("worker_app.heartbeat", (0.01,), app=worker.app, immutable=True)
    done = chord(add, app=worker.app)(body).id
    assert worker.result(done) < 1
    linked = worker.app.send_task(
        "worker_app.adding", (1, 2), link=signature("worker_app.adding", (10,), app=worker.app, task_id="linked")
    ).id
    assert worker.result(linked) == 3
    assert worker.result("linked") == 13


def test_soft_time_limit_is_raised_inside_the_coroutine(worker: Any) -> None:
    assert worker.result(worker.send("limited_softly", True)) == "cleaned up"
    meta = worker.state(worker.send("limited_softly", False), "FAILURE")
    assert type(meta["result"]).__name__ == "SoftTimeLimitExceeded"


def test_hard_time_limit_cancels_and_reports(worker: Any, until: Callable[..., Any]) -> None:
    task_id = worker.send("limited_hard")
    meta = worker.state(task_id, "FAILURE")
    assert type(meta["result"]).__name__ == "TimeLimitExceeded"
    assert until(lambda: worker.evidence("ended").get(task_id)) == "time_limit"
    until(lambda: worker.unacked == 0, what="acknowledged")


def test_a_body_that_outlives_its_hard_limit_cannot_take_the_failure_back(
    worker: Any, until: Callable[..., Any]
) -> None:
    task_id = worker.send("limited_but_stubborn")
    until(lambda: task_id in worker.evidence("ended"))
    # Another task through the same backend: what the late body would have stored is stored by now.
    worker.result(worker.send("adding", 1, 1))
    assert type(worker.state(task_id, "FAILURE", "SUCCESS")["result"]).__name__ == "TimeLimitExceeded"


def test_revoke_with_terminate_cancels_acknowledges_and_spares_the_others(
    worker: Any, until: Callable[..., Any]
) -> None:
    victim, bystander = worker.send("sleep", 60), worker.send("sleep", 1.5)
    until(lambda: {victim, bystander} <= worker.evidence("began").keys())
    worker.app.control.revoke(victim, terminate=True)
    assert until(lambda: worker.evidence("cancelled").get(victim)) == "revoke,False"
    worker.state(victim, "REVOKED")
    assert worker.result(bystander) == "slept"
    until(lambda: worker.unacked == 0, what="acknowledged")
    assert worker.result(worker.send("adding", 1, 2)) == 3


def test_a_revoked_body_may_clean_up_undisturbed(worker: Any, until: Callable[..., Any]) -> None:
    task_id = worker.send("checkpointed", 60)
    until(lambda: task_id in worker.evidence("began"))
    worker.app.control.revoke(task_id, terminate=True)
    assert until(lambda: worker.evidence("checkpoint").get(task_id)) == "False"
    assert worker.state(task_id, "REVOKED")["status"] == "REVOKED"
    until(lambda: worker.unacked == 0, what="acknowledged")


def test_a_waiting_task_that_is_revoked_never_begins(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker("--prefetch-multiplier", "3", concurrency=1)
    first, second = worker.send("sleep", 60), worker.send("sleep", 60)
    until(lambda: first in worker.evidence("began") and worker.unacked == 2)
    worker.app.control.revoke(second, terminate=True)
    worker.state(second, "REVOKED")
    until(lambda: worker.unacked == 1, what="only the running one is unacknowledged")
    assert second not in worker.evidence("began")


def test_the_limit_holds_and_can_be_moved(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker("--prefetch-multiplier", "4", concurrency=2)
    for _ in range(6):
        worker.send("sleep", 60)
    until(lambda: len(worker.evidence("began")) == 2 and worker.unacked == 6)
    (stats,) = worker.app.control.inspect().stats().values()
    assert stats["pool"]["max-concurrency"] == 2
    assert (stats["pool"]["running"], stats["pool"]["waiting"]) == (2, 4)
    worker.app.control.pool_grow(3)
    until(lambda: len(worker.evidence("began")) == 5)
    worker.app.control.pool_shrink(4)
    (stats,) = worker.app.control.inspect().stats().values()
    assert (stats["pool"]["max-concurrency"], stats["pool"]["running"]) == (1, 5)


def test_autoscale_grows_to_its_maximum(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker("--autoscale", "8,1")
    for _ in range(12):
        worker.send("sleep", 60)
    until(lambda: len(worker.evidence("began")) == 8)


def test_an_idle_worker_acknowledges_at_once(worker: Any, until: Callable[..., Any]) -> None:
    delays = []
    for _ in range(5):
        task_id = worker.send("adding", 1, 1)
        until(lambda task_id=task_id: worker.meta(task_id)["status"] == "SUCCESS")
        stored = time.monotonic()
        until(lambda: worker.unacked == 0)
        delays.append(time.monotonic() - stored)
    assert max(delays) < 0.3, delays


def test_a_stalled_result_backend_does_not_stall_the_loop(
    start_worker: Any, second_server: Any, until: Callable[..., Any]
) -> None:
    worker = start_worker(backend=second_server)
    warm = worker.send("adding", 1, 1)
    worker.result(warm)
    beating = worker.send("heartbeat", 2.0, True)
    until(lambda: beating in worker.evidence("began"))
    second_server.process.send_signal(signal.SIGSTOP)
    try:
        stuck = [worker.app.send_task("worker_app.adding", (n, n), ignore_result=False).id for n in range(20)]
        longest = float(until(lambda: worker.evidence("longest").get(beating)))
    finally:
        second_server.process.send_signal(signal.SIGCONT)
    assert longest < 0.5, "the loop stood still"
    assert [worker.result(task_id) for task_id in [beating, *stuck]][1:] == [n + n for n in range(20)]


def test_a_stalled_broker_does_not_stall_the_loop(
    start_worker: Any, second_server: Any, until: Callable[..., Any]
) -> None:
    worker = start_worker(backend=second_server)
    worker.result(worker.send("retrying", 1))
    beating, publishing = worker.send("heartbeat", 2.0), worker.send("retrying_later", 0.5)
    until(lambda: {beating, publishing} <= worker.evidence("began").keys())
    worker.broker.process.send_signal(signal.SIGSTOP)
    try:
        longest = worker.result(beating)
    finally:
        worker.broker.process.send_signal(signal.SIGCONT)
    assert longest < 0.5, "the loop stood still"
    assert worker.result(publishing) == "retried"


def test_reports_go_on_after_the_broker_connection_broke(worker: Any, until: Callable[..., Any]) -> None:
    assert worker.result(worker.send("adding", 1, 1)) == 2
    worker.broker.client.client_kill_filter(_type="normal", skipme=True)
    until(lambda: "Connection to broker lost" in worker.output)
    for n in range(3):
        assert worker.result(worker.send("adding", n, n)) == n + n
        until(lambda: worker.unacked == 0, 1.0, what="acknowledged")


def test_waiting_tasks_run_once_when_the_broker_connection_breaks(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker("--prefetch-multiplier", "10", concurrency=1)
    running = worker.send("sleep", 2.0)
    waiting = [worker.send("sleep", 0.01) for _ in range(5)]
    until(lambda: running in worker.evidence("began") and worker.unacked == 6)
    worker.broker.client.client_kill_filter(_type="normal", skipme=True)
    assert [worker.result(task_id) for task_id in waiting] == ["slept"] * 5
    until(lambda: worker.unacked == 0 and worker.queued == 0)
    rows = worker.broker.client.lrange("evidence", 0, -1)
    assert [rows.count(f"began:{task_id}:") for task_id in waiting] == [1] * 5


def test_events_are_sent(start_worker: Any, until: Callable[..., Any]) -> None:
    worker = start_worker("-E")
    seen: list[str] = []
    with worker.app.connection_for_read() as connection:
        receiver = worker.app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["type"])})
        with receiver.consumer_context() as (own, _, _):

            def arrived(kind: str) -> bool:
                own.drain_events(timeout=5)
                return kind in seen

            until(lambda: arrived("worker-heartbeat"), what="the subscription stands")
            worker.send("adding", 1, 1)
            until(lambda: arrived("task-succeeded"))
    assert [kind for kind in seen if kind.startswith("task-")] == ["task-received", "task-started", "task-succeeded"]


def test_fast_locals_are_refused(server: Any) -> None:
    import os

    environment = os.environ | {"USE_FAST_LOCALS": "1", "POOL_TEST_BROKER": server.url, "POOL_TEST_BACKEND": server.url}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker_app", "worker"],
        env=environment,
        cwd=__file__.rpartition("/")[0],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "USE_FAST_LOCALS" in done.stdout + done.stderr
