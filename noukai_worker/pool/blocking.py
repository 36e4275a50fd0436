"""Celery's blocking calls, kept off the event loop: result backend and publishing run in threads.

Celery's tracer stores results and publishes follow-up tasks with blocking sockets. On the loop's thread one slow answer
from Redis would stop every task of the process. ``offload`` therefore replaces two attributes of each task object:

* ``task.backend`` becomes a proxy, set through the property's own setter, the documented way to give a task a backend;
* ``task.apply_async``, and ``app.send_task`` for tasks not registered here, because ``self.retry()``, chains and links publish.

Inside a task body both hand the call to a thread and wait through the greenlet; anywhere else (the worker's main
thread, web processes, these same threads) they are plain calls. Replacing the objects' attributes was preferred to
a task base class because it covers Celery's built-in tasks and those of the application without any cooperation, and
to a wrapper around the tracer because the tracer must run in the body, unchanged.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, ParamSpec, TypeVar

from celery.backends.base import Backend, DisabledBackend

from .bridge import await_, current_body
from .job import Job, current_job

P = ParamSpec("P")
T = TypeVar("T")

#: Methods of a result backend that talk to its server.
_TALKS: Final = frozenset(
    {
        "add_to_chord",
        "apply_chord",
        "chord_error_from_stack",
        "fail_from_current_stack",
        "forget",
        "get_children",
        "get_many",
        "get_result",
        "get_state",
        "get_task_meta",
        "get_traceback",
        "mark_as_done",
        "mark_as_failure",
        "mark_as_retry",
        "mark_as_revoked",
        "mark_as_started",
        "on_chord_part_return",
        "process_cleanup",
        "set_chord_size",
        "store_result",
    }
)
#: Methods by which the tracer records how the body ended.
_SETTLES: Final = frozenset({"mark_as_done", "mark_as_failure", "mark_as_retry"})


class Threads:
    """Daemon threads for blocking calls, started as needed, up to ``limit``.

    Not a ThreadPoolExecutor: the interpreter joins that one's threads at exit, so a worker could not end while one of
    them waits for a result server that is away.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._starting = threading.Lock()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((future, call))
        if not self._idle.acquire(blocking=False):
            with self._starting:
                if self._started < self._limit:
                    self._started += 1
                    name = f"{self._name}-{self._started}"
                    threading.Thread(target=self._serve, name=name, daemon=True).start()
        return future

    def close(self) -> None:
        """Let the threads end when they have done what was submitted; does not wait."""
        for _ in range(self._started):
            self._calls.put(None)

    def _serve(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 -- raised where the call was made
                future.set_exception(error)
            del item, future, call
            self._idle.release()


_threads: contextvars.ContextVar[Threads] = contextvars.ContextVar("asyncio_pool_threads")


def use_threads(threads: Threads) -> None:
    """Let ``in_thread`` in the current context use these threads."""
    _threads.set(threads)


def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function: in a task body in a thread, waiting through the greenlet; elsewhere directly.

    The thread sees a copy of the body's context variables, so ``celery.current_task`` is right in it. A call that has begun is
    never cut off: a cancellation or soft time limit that comes meanwhile waits for the body's next await point.
    """
    body = current_body()
    threads = _threads.get(None)
    if body is None or threads is None:
        return function(*args, **kwargs)
    call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
    with body.shielded():
        return await_(asyncio.wrap_future(threads.submit(call)))


class OffloadedBackend:
    """Stands for a task's result backend; its calls to the server go through ``in_thread``.

    The real backend is looked up where the call runs: Celery keeps one for each thread unless it is declared thread-safe.
    """

    def __init__(self, task: Any) -> None:
        self._app = task.app
        self._own = task._backend

    def _real(self) -> Any:
        return self._app.backend if self._own is None else self._own

    def __getattr__(self, name: str) -> Any:
        real = self._real()
        attribute = getattr(real, name)
        if name not in _TALKS:
            return attribute
        body = current_body()
        if body is None:
            return attribute
        if name in _SETTLES:
            job = current_job.get()
            if isinstance(job, Job) and job.over:
                return _do_nothing
            body.settle()
            if isinstance(job, Job) and job.recorded and name == "mark_as_done":
                return _do_nothing
        if isinstance(real, DisabledBackend) or _does_nothing(real, name):
            return attribute
        return functools.partial(in_thread, self._call, name)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._real(), name)(*args, **kwargs)


def _does_nothing(backend: Any, name: str) -> bool:
    return name == "process_cleanup" and type(backend).process_cleanup is Backend.process_cleanup


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    """The outcome has been recorded by Celery; a body that ends later has no say."""


def offload(task: Any) -> None:
    """Keep a task's blocking calls off the loop; may be called any number of times."""
    if isinstance(task.backend, OffloadedBackend):
        return
    task.backend = OffloadedBackend(task)
    task.apply_async = _publishing(task.apply_async)


def offload_app(app: Any) -> None:
    """The same for publishing by task name."""
    if not getattr(app.send_task, "is_offloaded", False):
        app.send_task = _publishing(app.send_task)


def _publishing(publish: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(publish)
    def offloaded(*args: Any, **kwargs: Any) -> Any:
        # A caller who brings a producer holds one of the few that the app's producer pool has. If its greenlet slept with it
        # in hand, bodies enough to empty the pool would make the next one block the loop, and none could go on.
        if kwargs.get("producer") is not None or kwargs.get("connection") is not None:
            return publish(*args, **kwargs)
        return in_thread(publish, *args, **kwargs)

    offloaded.is_offloaded = True  # type: ignore[attr-defined]
    return offloaded
