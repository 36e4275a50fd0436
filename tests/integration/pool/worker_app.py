"""The Celery application that the workers of these tests run. Bodies leave evidence in a Redis list."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import redis
import redis.asyncio
from celery import Celery, Task, chain, current_task
from celery.exceptions import Ignore, SoftTimeLimitExceeded

from noukai_worker.pool import TaskPool, await_, draining, in_thread, interruption, on_loop_close, run, running_in_pool

BROKER = os.environ["POOL_TEST_BROKER"]
app = Celery("worker_app", broker=BROKER, backend=os.environ["POOL_TEST_BACKEND"])
app.conf.update(
    worker_pool=os.environ.get("POOL_TEST_POOL", "noukai_worker.pool:TaskPool"),
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
    task_acks_late=True,
    task_track_started=True,
    broker_connection_retry_on_startup=True,
    result_backend_always_retry=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)
evidence = redis.Redis.from_url(BROKER)


class WaitingPool(TaskPool):
    drain_on_stop = False


class ImpatientPool(TaskPool):
    drain_timeout = 0.5


def note(kind: str, value: object = "") -> None:
    request = current_task.request
    evidence.rpush("evidence", f"{kind}:{request.id}:{value}")


@app.task(bind=True)
def identify(self: Any, seconds: float) -> list[str]:
    """Its own id, as seen from every place that can ask for it."""
    seen: list[str] = [self.request.id, current_task.request.id]

    async def child() -> str:
        await asyncio.sleep(seconds)
        return str(current_task.request.id)

    async def body() -> None:
        seen.append(await child())
        async with asyncio.TaskGroup() as group:
            inner = group.create_task(child())
        seen.append(inner.result())
        seen.append(await asyncio.to_thread(lambda: str(self.request.id)))
        seen.append(self.request.id)

    run(body())
    seen.append(in_thread(lambda: str(self.request.id)))
    seen.append(self.request.id)
    return seen


@app.task
def where() -> list[object]:
    async def inside() -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    return [running_in_pool(), run(inside())]


@app.task
def sleep(seconds: float) -> str:
    async def body() -> str:
        note("began")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            note("cancelled", f"{interruption()},{draining()}")
            raise
        note("slept")
        return "slept"

    return run(body())


class Hooked(Task):  # type: ignore[misc]
    def after_return(self, *_: object) -> None:
        await_(asyncio.sleep(0.05))
        note("returned")


@app.task(base=Hooked)
def sleep_with_hook(seconds: float) -> str:
    note("began")
    await_(asyncio.sleep(seconds))
    note("slept")
    return "slept"


@app.task(acks_late=False)
def sleep_acked_early(seconds: float) -> None:
    note("began")
    await_(asyncio.sleep(seconds))


@app.task
def checkpointed(seconds: float) -> None:
    """Handles the drain itself: it writes its checkpoint with awaits and then has its message acknowledged."""

    async def body() -> None:
        note("began")
        client = redis.asyncio.Redis.from_url(BROKER)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            await client.rpush("evidence", f"checkpoint:{current_task.request.id}:{draining()}")  # type: ignore[misc]
            raise Ignore from None
        finally:
            await client.aclose()

    run(body())


@app.task
def stubborn(seconds: float) -> str:
    async def body() -> str:
        note("began")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                await asyncio.sleep(end - time.monotonic())
            except asyncio.CancelledError:
                note("swallowed", interruption())
        return "stubborn"

    return run(body())


@app.task(soft_time_limit=0.3)
def limited_softly(catch: bool) -> str:
    async def body() -> str:
        try:
            await asyncio.sleep(60)
        except SoftTimeLimitExceeded:
            if not catch:
                raise
            await asyncio.sleep(0.01)
            return "cleaned up"
        return "not limited"

    return run(body())


@app.task(time_limit=0.3)
def limited_hard() -> None:
    try:
        await_(asyncio.sleep(60))
    finally:
        note("ended", interruption())


@app.task(time_limit=0.3)
def limited_but_stubborn() -> str:
    try:
        await_(asyncio.sleep(60))
    except asyncio.CancelledError:
        await_(asyncio.sleep(0.1))
    note("ended")
    return "too late"


@app.task(bind=True, max_retries=5)
def retrying(self: Any, failures: int) -> int:
    async def body() -> int:
        await asyncio.sleep(0)
        if self.request.retries < failures:
            raise self.retry(countdown=0.05)
        return int(self.request.retries)

    return run(body())


@app.task
def failing(kind: str) -> None:
    async def body() -> None:
        await asyncio.sleep(0)
        if kind == "exit":
            raise SystemExit(3)
        if kind == "exit in a child":
            await asyncio.create_task(exiting())
        if kind == "stray cancellation":
            stray = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            stray.cancel()
            await stray
        raise ValueError(kind)

    async def exiting() -> None:
        raise SystemExit(4)

    run(body())


@app.task
def adding(left: int, right: int) -> int:
    await_(asyncio.sleep(0.01))
    return left + right


@app.task(bind=True, max_retries=5)
def retrying_later(self: Any, seconds: float) -> str:
    async def body() -> str:
        if self.request.retries:
            return "retried"
        note("began")
        await asyncio.sleep(seconds)
        raise self.retry(countdown=0)

    return run(body())


@app.task(bind=True)
def follow_up(self: Any) -> str:
    """Publishes from inside a coroutine; the new task must know its parent."""

    async def body() -> str:
        await asyncio.sleep(0)
        return str(chain(parent_of.si(), adding.si(1, 1)).apply_async().parent.id)

    return run(body())


@app.task(bind=True)
def parent_of(self: Any) -> None:
    note("parent", self.request.parent_id)


@app.task
def heartbeat(seconds: float, tell: bool = False) -> float:
    """The longest time, in seconds, that the loop did not come round."""

    async def body() -> float:
        note("began")
        longest, end = 0.0, time.monotonic() + seconds
        while (before := time.monotonic()) < end:
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)
        if tell:
            note("longest", longest)
        return longest

    return run(body())


@app.task
def opens_resources() -> None:
    async def ticking() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(60)
        finally:
            evidence.rpush("evidence", "closed generator::")

    async def body() -> None:
        generator = ticking()
        await anext(generator)
        _kept.append(generator)
        _kept.append(asyncio.create_task(background()))
        on_loop_close(close)
        note("began")

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            evidence.rpush("evidence", "cancelled background::")

    async def close() -> None:
        await asyncio.sleep(0.01)
        evidence.rpush("evidence", "closed resource::")

    run(body())


_kept: list[object] = []
