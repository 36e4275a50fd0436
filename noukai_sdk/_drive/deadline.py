"""This room bounds the time of a sync stream, which may be blocked in a read when its time is over."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any, Self

from noukai_sdk._errors import APIConnectionError, NoukaiError, StreamTimeoutError


class Deadline:
    """So many seconds from now. When they are over, the socket it watches is shut, which wakes a blocked read."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._stream: Any = None
        self._timer: threading.Timer | None = None

    def check(self, *, sent: bool = True) -> None:
        if time.monotonic() >= self._ends_at:
            raise deadline_error(self._seconds, sent=sent)

    def at_most(self, seconds: float) -> float:
        # Never 0, which httpx takes for "do not block at all".
        return max(0.001, min(seconds, self._ends_at - time.monotonic()))

    def explain(self, error: NoukaiError) -> NoukaiError:
        """The error to report: a failure after the deadline is the deadline's doing."""
        late = isinstance(error, APIConnectionError) and time.monotonic() >= self._ends_at
        return deadline_error(self._seconds, sent=error.sent) if late else error

    def watch(self, stream: Any) -> None:
        """Watch the socket of this network stream (httpx's) from now on, and no other; with None, no socket at all."""
        self._stream = stream
        if stream is None:
            return
        left = self._ends_at - time.monotonic()
        if left <= 0:
            self._shut()
        elif self._timer is None:
            self._timer = threading.Timer(left, self._shut)
            self._timer.daemon = True
            self._timer.start()

    def _shut(self) -> None:
        shut(self._stream)

    def cancel(self) -> None:
        self._stream = None
        if self._timer is not None:
            self._timer.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


def shut(stream: Any) -> None:
    """Shut the socket of a network stream, or of none, which wakes a thread that is blocked in reading it."""
    # Asked for now only: the socket of a finished response may serve somebody else.
    connection = None if stream is None else stream.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            # Not SSLSocket's own method, which pulls the TLS layer away under the blocked read.
            socket.socket.shutdown(connection, socket.SHUT_RDWR)


def deadline_error(seconds: float, *, sent: bool = True) -> StreamTimeoutError:
    """The error for a stream that ran past its own timeout."""
    return StreamTimeoutError(
        f"the stream's timeout of {seconds:g} s is over; resume at error.checkpoint, or allow more",
        code="DEADLINE_CLIENT",
        sent=sent,
    )
