"""The bridge between synchronous code and the event loop: a function that awaits without being ``async``.

A ``Body`` is a synchronous function that runs as a greenlet inside one asyncio task. When it calls ``await_(awaitable)``
it steps the awaitable itself and hands each future it has to wait for to the loop; the loop runs other tasks until the
future is done and then switches back. So the coroutine runs *inside* the greenlet: what belongs to the running body
(Celery's current task, ``await_`` itself) is there for the coroutine and for synchronous code that the coroutine calls.

The other known way, to hand the whole awaitable to the loop's greenlet, loses that: inside the coroutine there would be
no body any more, and a ``self.retry()`` called there would block the loop with its publishing.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, Final, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")

_OUTSIDE: Final = (
    "await_() was called outside a task body of the asyncio pool. In a coroutine write 'await'; "
    "in code that also runs in other pools call run(coroutine), which chooses the right way."
)


class Body(greenlet):  # type: ignore[misc]
    """A synchronous function, run by awaiting this object once, in an asyncio task of its own.

    ``await Body(function, *args)`` returns what the function returns and raises what it raises.
    """

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(self._call)
        self._function = function
        self._args = args
        self._driver: asyncio.Task[Any] | None = None
        self._due: BaseException | None = None
        self._suspended = False
        self._shields = 0

    def _call(self) -> Any:
        return self._function(*self._args)

    def interrupt(self, error: BaseException) -> None:
        """Raise ``error`` in the body at its await point; only from the loop's thread.

        A body that is shielded sees it at its next await point outside the shield, one that has not begun does not begin.
        A cancellation replaces any other error that is still due, and is replaced by none.
        """
        if self.dead or isinstance(self._due, asyncio.CancelledError):
            return
        self._due = error
        if self._suspended and not self._shields and self._driver is not None:
            self._driver.cancel()

    @contextlib.contextmanager
    def shielded(self) -> Iterator[None]:
        """While inside, interruptions wait."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    def settle(self) -> None:
        """From here on nothing interrupts the body any more: its outcome is being recorded."""
        self._shields += 1

    def wait(self, future: Any) -> Any:
        """Give the loop a future that a coroutine yielded, and come back when it is done."""
        if self._due is not None and not self._shields and self._driver is not None:
            self._driver.cancel()
        return self.parent.switch(future)

    def __await__(self) -> Generator[Any, Any, Any]:
        if self._due is not None:
            raise self._due
        driver = self._driver = asyncio.current_task()
        here = getcurrent()
        self.parent = here
        # One context for the greenlet and its asyncio task: a variable set on either side is seen on both.
        self.gr_context = here.gr_context
        result = self.switch()
        while not self.dead:
            self._suspended = True
            try:
                value = yield result
            except asyncio.CancelledError as cancelled:
                self._suspended = False
                result = self.throw(self._carried_by(cancelled, driver))
            except BaseException as error:  # noqa: BLE001 -- whatever the loop throws belongs to the body
                self._suspended = False
                result = self.throw(error)
            else:
                self._suspended = False
                result = self.switch(value)
        return result

    def _carried_by(self, cancelled: asyncio.CancelledError, driver: asyncio.Task[Any] | None) -> BaseException:
        """The error that is due, for which the cancellation was only the carrier; without one, the cancellation."""
        due, self._due = self._due, None
        if due is not None and not isinstance(due, asyncio.CancelledError) and driver is not None:
            # If it stayed counted, asyncio.timeout() and TaskGroup in the body would take it for their own caller's.
            driver.uncancel()
        return cancelled if due is None else due


def current_body() -> Body | None:
    """The body whose code is running now, or None."""
    here = getcurrent()
    return here if isinstance(here, Body) else None


def running_in_pool() -> bool:
    """Whether the caller runs in a task body of the asyncio pool, where ``await_`` works.

    True in the body and in coroutines that it awaits; False in asyncio tasks that those start, and everywhere else.
    """
    return isinstance(getcurrent(), Body)


def await_(awaitable: Awaitable[T]) -> T:
    """Await from synchronous code in a task body: returns the awaitable's result, raises its exception.

    Raises RuntimeError outside a body; a coroutine is closed then, so that nothing is left un-awaited.
    """
    body = current_body()
    if body is None:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError(_OUTSIDE)
    coroutine = awaitable if inspect.iscoroutine(awaitable) else _wait_for(awaitable)
    resume: Callable[[Any], Any] = coroutine.send
    value: Any = None
    try:
        while True:
            try:
                future = resume(value)
            except StopIteration as done:
                result: T = done.value
                return result
            try:
                value = body.wait(future)
                resume = coroutine.send
            except BaseException as error:  # noqa: BLE001 -- an interruption belongs to the coroutine that waits
                resume, value = coroutine.throw, error
    finally:
        # An exception kept here would hold its traceback, and that this frame: a cycle for each failed task.
        value = future = None


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from a synchronous task body, in whatever pool the task runs.

    In the asyncio pool it is awaited through the greenlet, on the pool's loop; in any other pool (prefork, threads,
    solo) and outside a worker it gets a loop of its own by ``asyncio.run``.

    Raises what the coroutine raises, and RuntimeError when it is called from a coroutine outside a body.
    """
    if running_in_pool():
        return await_(coroutine)
    try:
        return asyncio.run(coroutine)
    finally:
        # asyncio.run refuses to run inside a running loop and leaves the coroutine as it is.
        coroutine.close()


async def _wait_for(awaitable: Awaitable[T]) -> T:
    return await awaitable
