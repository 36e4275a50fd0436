"""The greenlet bridge, without a worker."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import Callable, Generator
from typing import Any

import pytest

from noukai_worker.pool import await_, run, running_in_pool
from noukai_worker.pool.bridge import Body, current_body

flavour: contextvars.ContextVar[str] = contextvars.ContextVar("flavour", default="plain")


def in_pool(function: Callable[..., Any], *args: Any) -> Any:
    async def main() -> Any:
        return await Body(function, *args)

    return asyncio.run(main())


async def soon(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def failing(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


class Ready:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Generator[Any, Any, str]:
        yield from asyncio.sleep(0).__await__()
        return "ready"


def test_awaits_coroutines_futures_and_other_awaitables() -> None:
    async def future() -> Any:
        return asyncio.ensure_future(soon("future"))

    def body() -> list[Any]:
        return [await_(soon(1)), await_(await_(future())), await_(Ready()), await_(asyncio.sleep(0, "timer"))]

    assert in_pool(body) == [1, "future", "ready", "timer"]


def test_a_body_that_never_awaits_returns_its_value() -> None:
    assert in_pool(lambda: 7) == 7


def test_an_awaitable_that_never_suspends() -> None:
    async def at_once() -> int:
        return 3

    assert in_pool(lambda: await_(at_once())) == 3


def test_exceptions_reach_the_body_and_leave_it() -> None:
    def body() -> str:
        with pytest.raises(LookupError):
            await_(failing(LookupError("first")))
        await_(failing(ValueError("second")))
        return "unreachable"

    with pytest.raises(ValueError, match="second"):
        in_pool(body)


def test_stop_iteration_from_a_coroutine_is_not_taken_for_its_end() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        in_pool(lambda: await_(failing(StopIteration("x"))))


def test_synchronous_code_called_by_a_coroutine_can_await_again() -> None:
    def deep(level: int) -> int:
        async def down() -> int:
            await asyncio.sleep(0)
            return deep(level - 1) + 1

        return await_(down()) if level else 0

    assert in_pool(deep, 20) == 20


def test_running_in_pool_is_true_in_the_body_and_in_what_it_awaits() -> None:
    async def inside() -> bool:
        return running_in_pool()

    async def in_child() -> bool:
        return await asyncio.create_task(inside())

    assert in_pool(lambda: (running_in_pool(), await_(inside()), await_(in_child()))) == (True, True, False)
    assert not running_in_pool()


def test_await_outside_a_body_says_what_to_do_and_closes_the_coroutine() -> None:
    coroutine = soon(1)
    with pytest.raises(RuntimeError, match=r"run\(coroutine\)"):
        await_(coroutine)
    assert coroutine.cr_frame is None

    async def main() -> None:
        await_(soon(1))

    with pytest.raises(RuntimeError, match="write 'await'"):
        asyncio.run(main())


def test_many_bodies_interleave() -> None:
    order: list[str] = []

    def body(name: str) -> str:
        for step in range(3):
            order.append(f"{name}{step}")
            await_(asyncio.sleep(0))
        return name

    async def main() -> list[str]:
        return await asyncio.gather(Body(body, "a"), Body(body, "b"))

    assert asyncio.run(main()) == ["a", "b"]
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_context_variables_are_shared_with_the_asyncio_task_and_apart_between_bodies() -> None:
    async def inner(name: str) -> str:
        seen = flavour.get()
        flavour.set(name + "+")
        await asyncio.sleep(0)
        return seen

    def body(name: str) -> tuple[str, str]:
        flavour.set(name)
        await_(asyncio.sleep(0))
        return await_(inner(name)), flavour.get()

    async def main() -> Any:
        first, second = (asyncio.create_task(_drive(body, name)) for name in "ab")
        return await first, await second, flavour.get()

    assert asyncio.run(main()) == (("a", "a+"), ("b", "b+"), "plain")


async def _drive(function: Callable[..., Any], *args: Any) -> Any:
    return await Body(function, *args)


class Bell(Exception):
    pass


def interrupted(function: Callable[[], Any], error: BaseException, when: asyncio.Event | None = None) -> Any:
    """Start a body, interrupt it at its first await point, return its outcome."""

    async def main() -> Any:
        body = Body(function)
        task = asyncio.create_task(_await(body))
        for _ in range(3):
            await asyncio.sleep(0)
        body.interrupt(error)
        return await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(main())[0]


async def _await(body: Body) -> Any:
    return await body


def test_an_interruption_is_raised_at_the_await_point_inside_the_coroutine() -> None:
    async def waits() -> str:
        try:
            await asyncio.Event().wait()
        except Bell:
            task = asyncio.current_task()
            assert task is not None
            await asyncio.sleep(0)
            return f"cleaned up, {task.cancelling()} cancellations"
        return "missed"

    assert interrupted(lambda: await_(waits()), Bell()) == "cleaned up, 0 cancellations"


def test_an_interruption_cancels_child_tasks_that_the_body_waits_for() -> None:
    cancelled: list[str] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("child")
            raise

    async def parent() -> None:
        await asyncio.gather(child(), child())

    assert isinstance(interrupted(lambda: await_(parent()), Bell()), Bell)
    assert cancelled == ["child", "child"]


def test_a_time_limit_of_the_bodys_own_still_works_after_an_interruption() -> None:
    async def waits() -> str:
        with contextlib.suppress(Bell):
            await asyncio.Event().wait()
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "missed"

    assert interrupted(lambda: await_(waits()), Bell()) == "timed out"


def test_cancellation_is_seen_as_such() -> None:
    assert isinstance(
        interrupted(lambda: await_(asyncio.Event().wait()), asyncio.CancelledError()), asyncio.CancelledError
    )


def test_a_shielded_body_is_interrupted_after_the_shield() -> None:
    seen: list[str] = []

    async def main() -> Any:
        body = Body(function)
        task = asyncio.create_task(_await(body))
        await asyncio.sleep(0)
        body.interrupt(Bell())
        for _ in range(3):
            await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(task, return_exceptions=True)

    gate = asyncio.Event()

    def function() -> None:
        with body_of().shielded():
            await_(gate.wait())
        seen.append("finished under the shield")
        await_(asyncio.sleep(0))
        seen.append("not reached")

    assert isinstance(asyncio.run(main())[0], Bell)
    assert seen == ["finished under the shield"]


def body_of() -> Body:
    body = current_body()
    assert body is not None
    return body


def test_a_settled_body_is_not_interrupted_any_more() -> None:
    def function() -> str:
        body_of().settle()
        for _ in range(5):
            await_(asyncio.sleep(0))
        return "recorded"

    assert interrupted(function, asyncio.CancelledError()) == "recorded"


def test_an_interruption_before_the_start_keeps_the_body_from_beginning() -> None:
    begun: list[int] = []

    async def main() -> None:
        body = Body(begun.append, 1)
        body.interrupt(Bell())
        await body

    with pytest.raises(Bell):
        asyncio.run(main())
    assert begun == []


def test_cancellation_replaces_a_softer_interruption_and_is_not_replaced() -> None:
    async def main() -> Any:
        body = Body(lambda: await_(asyncio.Event().wait()))
        task = asyncio.create_task(_await(body))
        await asyncio.sleep(0)
        body.interrupt(Bell())
        body.interrupt(asyncio.CancelledError())
        body.interrupt(Bell())
        return await asyncio.gather(task, return_exceptions=True)

    assert isinstance(asyncio.run(main())[0], asyncio.CancelledError)


def test_an_interrupted_await_leaves_no_reference_cycle() -> None:
    async def waits() -> None:
        await asyncio.Event().wait()

    def body() -> None:
        with contextlib.suppress(Bell):
            await_(waits())

    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        interrupted(body, Bell())
        gc.collect()
        kept = [found for found in gc.garbage if isinstance(found, Bell)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert kept == []


def test_async_generators_are_closed_in_the_body() -> None:
    closed: list[str] = []

    async def numbers() -> Any:
        try:
            for number in range(10):
                await asyncio.sleep(0)
                yield number
        finally:
            closed.append("closed")

    async def first() -> int:
        async for number in numbers():
            return number  # type: ignore[no-any-return]
        return -1

    assert in_pool(lambda: await_(first())) == 0
    gc.collect()
    assert closed == ["closed"]


def test_run_awaits_in_the_pool_and_starts_a_loop_elsewhere() -> None:
    assert in_pool(lambda: run(soon("in the pool"))) == "in the pool"
    assert run(soon("elsewhere")) == "elsewhere"


def test_run_inside_a_running_loop_raises_and_closes_the_coroutine() -> None:
    async def main() -> None:
        coroutine = soon(1)
        try:
            run(coroutine)
        finally:
            assert coroutine.cr_frame is None

    with pytest.raises(RuntimeError, match="running event loop"):
        asyncio.run(main())
