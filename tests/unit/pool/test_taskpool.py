"""The pool under a worker in this process, on transports that have no hub."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, current_task
from celery.contrib.testing.worker import start_worker

from noukai_worker.pool import TaskPool, await_, draining, in_thread, interruption, on_loop_close, run

app = Celery("in_process", broker="memory://", backend="cache+memory://")
app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True, worker_hijack_root_logger=False)


@app.task(shared=False)
def who() -> str:
    async def body() -> str:
        await asyncio.sleep(0.01)
        return str(current_task.request.id)

    return run(body())


@pytest.fixture
def worker() -> Iterator[Any]:
    with start_worker(app, pool="noukai_worker.pool:TaskPool", concurrency=50, perform_ping_check=False) as started:
        yield started


def test_tasks_run_and_are_reported_without_a_hub(worker: Any) -> None:
    results = [who.delay() for _ in range(50)]
    for result in results:
        assert result.get(timeout=10, disable_sync_subtasks=False) == result.id


def block(reason: list[object]) -> str:
    try:
        await_(asyncio.Event().wait())
    except asyncio.CancelledError:
        await_(asyncio.sleep(0.01))
        reason.extend([interruption(), draining()])
        return "cleaned up"
    return "not cancelled"


@pytest.mark.parametrize("end", ["stop", "terminate"])
def test_stopping_without_a_hub_lets_bodies_clean_up(end: str) -> None:
    pool = TaskPool(5, app=app)
    pool.start()
    reasons: list[object] = []
    outcomes: list[object] = []
    accepted = threading.Event()
    pool.apply_async(
        block, (reasons,), accept_callback=lambda pid, at: accepted.set(), callback=outcomes.append, correlation_id="x"
    )
    assert accepted.wait(5)
    getattr(pool, end)()
    assert reasons == ["drain", True]
    assert outcomes == ["cleaned up"]
    assert pool.loop.is_closed()
    getattr(pool, end)()


def test_outside_a_pool() -> None:
    async def cleanup() -> None: ...

    assert in_thread(threading.current_thread) is threading.current_thread()
    assert interruption() is None
    assert not draining()
    with pytest.raises(RuntimeError, match="close the resource yourself"):
        on_loop_close(cleanup)


def test_a_pool_that_was_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="call start"):
        _ = TaskPool(3, app=app).loop
