"""This room lets one thread end the calls that another is blocked in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, Self


class Wait(Protocol):
    """Something that a thread is blocked in, such as a socket."""

    def end(self) -> None:
        """Wake that thread, now or as soon as it comes to wait. Any thread may call this; it does not block."""


class Watch:
    """Is told what a thread comes to wait for, and ends that, and whatever comes later, once `end` is called."""

    ended = False
    interrupted = False
    _wait: Wait | None = None

    def __call__(self, wait: Wait | None) -> None:
        """The thread is about to wait for this; with None, for nothing that could be ended."""
        # Each side writes before it looks at what the other writes: whoever comes second sees it.
        self._wait = wait
        if wait is not None and self.ended:
            wait.end()

    def end(self) -> None:
        """Wake the thread."""
        self.ended = True
        if (wait := self._wait) is not None:
            wait.end()

    def interrupt(self) -> None:
        """Wake the thread, and have it say that it was interrupted."""
        self.interrupted = True
        self.end()


class Interruption:
    """Ends blocking calls of a `Noukai` from another thread.

    Calls made in a `with interruption.covers()` block raise CallInterruptedError as soon as any other thread, or a signal
    handler, calls `interrupt()`: wherever they are blocked, and at once if it was called before. The connection is closed;
    the run on the service is not told. It is used up then: make one for each thing that is to be interrupted.
    Calls of an `AsyncNoukai` are not concerned: cancel their tasks.
    """

    def __init__(self) -> None:
        # Entered twice by one thread if a signal handler interrupts.
        self._lock = threading.RLock()
        self._watches: set[Watch] = set()
        self._interrupted = False

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt()` was called; for code of your own between calls, such as a tool handler."""
        return self._interrupted

    def interrupt(self) -> None:
        """End what is blocked in a call, and all calls to come. Returns at once; a second time it does nothing."""
        with self._lock:
            self._interrupted = True
            watches = list(self._watches)
        for watch in watches:
            watch.interrupt()

    @contextmanager
    def covers(self) -> Iterator[Self]:
        """Calls made in here, and what is read of streams in here, can be interrupted. Blocks may be nested, and shared.

        It holds for the caller's context (as `contextvars`): for this thread, and for threads that are given a copy, such
        as those of `asyncio.to_thread`.
        """
        before = _covering.get()
        inside: tuple[Interruption, ...] = (*before, self)
        _covering.set(inside)
        try:
            yield self
        finally:
            # Not by token, which would fail where a block is left in another context, such as by a generator's finaliser.
            if _covering.get() is inside:
                _covering.set(before)

    def _attach(self, watch: Watch) -> None:
        with self._lock:
            self._watches.add(watch)
        if self._interrupted:
            watch.interrupt()

    def _detach(self, watch: Watch) -> None:
        with self._lock:
            self._watches.discard(watch)


_covering: ContextVar[tuple[Interruption, ...]] = ContextVar("noukai_interruptions", default=())


def covering() -> tuple[Interruption, ...]:
    """The interruptions that cover the caller."""
    return _covering.get()
