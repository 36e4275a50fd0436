"""This room bounds what a thread does: a deadline or an interruption ends what it is blocked in."""

from __future__ import annotations

import threading
import time
from typing import Any, Self

import httpx

from noukai_sdk._errors import APIConnectionError, CallInterruptedError, StreamTimeoutError
from noukai_sdk._http.lines import line_of
from noukai_sdk._interruption import Interruption, Watch, covering


class Bounds(Watch):
    """What may end a call from outside: a deadline, so many seconds from now, and the interruptions that cover the caller.

    The latter count within a `with` block, which is entered while the call blocks. `sent` is kept by those who send.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._ends_at = 0.0 if seconds is None else time.monotonic() + seconds
        self._timer: threading.Timer | None = None
        self._interruptions: tuple[Interruption, ...] = ()
        # Whether any request of the call may have reached the server.
        self.sent = False

    def __enter__(self) -> Self:
        self._interruptions = covering()
        for interruption in self._interruptions:
            interruption._attach(self)
        return self

    def __exit__(self, *_: object) -> None:
        for interruption in self._interruptions:
            interruption._detach(self)
        self._interruptions = ()

    def __call__(self, wait: Any) -> None:
        if wait is not None and self._seconds is not None and self._timer is None:
            self._timer = threading.Timer(max(0.0, self._ends_at - time.monotonic()), self.end)
            self._timer.daemon = True
            self._timer.start()
        super().__call__(wait)

    def cancel(self) -> None:
        """Be done: the deadline is void."""
        self(None)
        if self._timer is not None:
            self._timer.cancel()

    def watch_over(self, request: httpx.Request) -> None:
        """Have the sending of `request` ended with this, and not take longer than is left."""
        if self._seconds is None and not self._interruptions:
            return
        # Ours for our own transport, httpx's for a user's: httpcore tells each connection that it opens.
        request.extensions.update(watch=self, trace=self._trace)
        if self._seconds is not None:
            timeouts = request.extensions["timeout"]
            timeouts.update({phase: self._at_most(seconds) for phase, seconds in timeouts.items()})

    def check(self, *, sent: bool) -> None:
        """Raises CallInterruptedError, or StreamTimeoutError (with this `sent`), if it is over."""
        if self.interrupted:
            raise _interrupted(self.sent)
        if self._is_late:
            raise deadline_error(self._seconds or 0.0, sent=sent)

    def explain(self, error: Exception) -> Exception:
        """The error to report: a failure after the end is the end's doing."""
        if not isinstance(error, APIConnectionError):
            return error
        if self.interrupted:
            return _interrupted(self.sent)
        return deadline_error(self._seconds or 0.0, sent=error.sent) if self._is_late else error

    def sleep(self, seconds: float) -> None:
        """Sleep so long, or until it is over."""
        if self._seconds is not None:
            seconds = self._at_most(seconds)
        if not self._interruptions:
            time.sleep(seconds)
            return
        nap = _Nap()
        self(nap)
        nap.wait(seconds)
        self(None)
        self.check(sent=False)

    @property
    def _is_late(self) -> bool:
        return self._seconds is not None and time.monotonic() >= self._ends_at

    def _at_most(self, seconds: float) -> float:
        # Never 0, which httpx takes for "do not block at all".
        return max(0.001, min(seconds, self._ends_at - time.monotonic()))

    def _trace(self, event: str, told: dict[str, Any]) -> None:
        match event.partition(".")[2]:
            case "connect_tcp.complete" | "start_tls.complete":
                self(line_of(told["return_value"]))
            case "send_request_headers.started" if self.ended:
                raise httpx.ConnectError("given up before anything was sent")


class _Nap(threading.Event):
    """Waits for a time."""

    end = threading.Event.set


def _interrupted(sent: bool) -> CallInterruptedError:
    what = (
        "the run may go on at the service: ask there before you pay again"
        if sent
        else "nothing was sent, so it may be made again"
    )
    return CallInterruptedError(f"another thread interrupted this call; {what}", code="INTERRUPTED_CLIENT", sent=sent)


def deadline_error(seconds: float, *, sent: bool = True) -> StreamTimeoutError:
    """The error for a stream that ran past its own timeout."""
    return StreamTimeoutError(
        f"the stream's timeout of {seconds:g} s is over; resume at error.checkpoint, or allow more",
        code="DEADLINE_CLIENT",
        sent=sent,
    )
