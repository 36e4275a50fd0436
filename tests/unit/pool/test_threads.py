"""The pool of threads: its jobs can be ended, one by one and all together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from noukai_worker.pool import ThreadPool, interruptible, interruption
from tests.support.processes import until


class Impatient(ThreadPool):
    grace = 0.05
    drain_timeout = 0.2


class Blocking:
    """A task body that blocks until it is ended."""

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()
        self.why: list[object] = []

    def __call__(self) -> str:
        end = threading.Event()
        with interruptible(end.set):
            self.began.set()
            assert end.wait(30)
        self.why.append(interruption())
        self.ended.set()
        return "done"


@pytest.fixture
def start() -> Iterator[Callable[..., ThreadPool]]:
    pools: list[ThreadPool] = []

    def started(kind: type[ThreadPool] = Impatient, limit: int = 4) -> ThreadPool:
        pool = kind(limit)
        pool.start()
        pools.append(pool)
        return pool

    yield started
    for pool in pools:
        pool.stop()


def apply(pool: ThreadPool, body: Callable[[], Any], results: list[Any], pids: list[int] | None = None) -> Any:
    def accepted(pid: int, at: float) -> None:
        if pids is not None:
            pids.append(pid)

    return pool.apply_async(body, callback=results.append, accept_callback=accepted, correlation_id="t")


def test_a_task_runs_and_tells_its_result(start: Callable[..., ThreadPool]) -> None:
    results: list[Any] = []
    apply(start(), lambda: 5, results)
    until(lambda: results == [5], "the callback")


def test_one_job_can_be_ended_and_the_others_go_on(start: Callable[..., ThreadPool]) -> None:
    pool, victim, other = start(), Blocking(), Blocking()
    results: list[Any] = []
    pids: list[int] = []
    apply(pool, victim, results, pids)
    assert victim.began.wait(10)
    apply(pool, other, results)
    assert other.began.wait(10)
    pool.terminate_job(pids[0])
    assert victim.ended.wait(10)
    assert victim.why == ["drain"], "Celery has taken it back; nobody has revoked it"
    assert not other.ended.is_set()
    pool.terminate_job(12345)


def test_what_is_ended_before_it_blocks_does_not_block(start: Callable[..., ThreadPool]) -> None:
    pool, results = start(limit=1), []
    first, second = Blocking(), Blocking()
    apply(pool, first, results)
    assert first.began.wait(10)
    waiting = apply(pool, second, results)
    waiting.terminate(15)
    pool.terminate_job(1)
    assert second.ended.wait(10)


def test_a_stopping_pool_ends_what_runs_and_begins_nothing(start: Callable[..., ThreadPool]) -> None:
    pool, running, waiting = start(limit=1), Blocking(), Blocking()
    results: list[Any] = []
    apply(pool, running, results)
    assert running.began.wait(10)
    apply(pool, waiting, results)
    pool.stop()
    assert running.why == ["drain"]
    assert results == ["done"]
    assert not waiting.began.is_set()


def test_what_ends_by_itself_in_time_is_not_interrupted(start: Callable[..., ThreadPool]) -> None:
    class Patient(ThreadPool):
        grace = 30.0

    pool, release, why = start(Patient), threading.Event(), []
    began = threading.Event()

    def body() -> None:
        began.set()
        release.wait(10)
        why.append(interruption())

    apply(pool, body, [])
    assert began.wait(10)
    threading.Timer(0.05, release.set).start()
    pool.stop()
    assert why == [None]


def test_what_cannot_be_ended_is_abandoned(start: Callable[..., ThreadPool], caplog: pytest.LogCaptureFixture) -> None:
    pool, release, began = start(), threading.Event(), threading.Event()

    def stubborn() -> None:
        began.set()
        release.wait(30)

    apply(pool, stubborn, [])
    assert began.wait(10)
    pool.stop()
    assert "Task t still runs 0.2 s after it was stopped" in caplog.text
    release.set()


def test_elsewhere_nothing_is_interruptible() -> None:
    with interruptible(pytest.fail):
        assert interruption() is None


def test_no_more_run_at_once_than_the_limit(start: Callable[..., ThreadPool]) -> None:
    pool, bodies = start(limit=2), [Blocking() for _ in range(3)]
    for body in bodies:
        apply(pool, body, [])
    until(lambda: bodies[0].began.is_set() and bodies[1].began.is_set(), "two run")
    assert not bodies[2].began.is_set()
    assert pool.num_processes == 2
    assert pool.info["running"] == 2
