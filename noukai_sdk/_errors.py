"""This room holds every exception the package raises, in one tree.

    NoukaiError
    ├── APIConnectionError             no (whole) answer came
    │   ├── APITimeoutError            … within the time allowed
    │   │   └── PoolTimeoutError       … no connection was free; nothing was sent
    │   └── StreamInterruptedError     a step stream broke off; resume it at `.checkpoint`
    │       ├── StreamProtocolError    … because what came cannot be understood
    │       └── StreamTimeoutError     … because of silence or a deadline (also an APITimeoutError)
    ├── APIResponseError               an answer that is no answer: odd 2xx body, redirect
    ├── FrameTooLargeError             one frame of a stream exceeds `max_frame_bytes`
    ├── AuthenticationError            401, or an unusable key
    ├── InsufficientCreditsError       402
    ├── PermissionDeniedError          403
    ├── FlowNotFoundError              404
    ├── SessionNotFoundError           404: the service says that nothing was run in this session
    ├── SessionExpiredError            410: a session was kept, but is gone
    ├── ResultNotRecordedError         the record of a run does not tell its result
    ├── RateLimitError                 429
    ├── FlowExecutionError             every other non-2xx status, and a run that failed
    │   └── StepFailedError            … whose missing output was asked for (also an AttributeError)
    ├── ToolCallLimitError             more tool rounds than `max_tool_rounds`
    ├── CallInterruptedError           another thread ended the call
    ├── ClientClosedError              a call after close() (also a RuntimeError)
    └── ReplayError                    a session cannot be played back
        ├── ReplayDisabledError        … kept for code that names it; never raised (a disabled replay captures instead)
        ├── ReplayInvalidSessionError  … its id is not a UUID (400)
        ├── ReplayForbiddenError       … it is somebody else's (403)
        ├── ReplaySessionNotFoundError … the service does not know it (also a SessionNotFoundError)
        ├── ReplaySessionExpiredError  … it was kept, but is gone (also a SessionExpiredError)
        ├── ReplayNoSnapshotsError     … its runs were recorded without their outputs
        ├── ReplayMissError            a call that the recording has no answer to
        └── ReplayLeftoverError        recorded runs that no call asked for

Names follow WIRE.md 6.6. All of them survive pickle with every attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noukai_sdk._models.checkpoint import Checkpoint


class NoukaiError(Exception):
    """Base of every error of this package.

    `retry_after` is in seconds (429 and 503 only). `sent` is False only if it is certain that the request never
    reached the server. `checkpoint` is set on errors that come out of a step stream: continue there with
    `events(..., checkpoint=error.checkpoint)`.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        execution_id: str | None = None,
        request_id: str | None = None,
        response_body: Any = None,
        retry_after: float | None = None,
        sent: bool = True,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.execution_id = execution_id
        self.request_id = request_id
        self.response_body = response_body
        self.retry_after = retry_after
        self.sent = sent
        self.checkpoint = checkpoint

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(status_code={self.status_code!r}, code={self.code!r}, "
            f"message={self.message!r}, request_id={self.request_id!r})"
        )


class APIConnectionError(NoukaiError):
    """No whole answer came: refused, reset, cut off. `sent` tells whether the server may have seen the request."""


class APITimeoutError(APIConnectionError):
    """The answer did not come within the time allowed."""


class PoolTimeoutError(APITimeoutError):
    """All connections of the pool were busy; nothing was sent."""


class StreamInterruptedError(APIConnectionError):
    """A step stream broke off before the flow ended. What was delivered stands; resume at `.checkpoint`."""


class StreamProtocolError(StreamInterruptedError):
    """A step stream sent something that cannot be acted on, such as a broken control frame."""


class StreamTimeoutError(StreamInterruptedError, APITimeoutError):
    """A step stream fell silent for longer than the client's timeout, or ran past its own deadline."""


class APIResponseError(NoukaiError):
    """The server answered with something that is not an answer: a redirect, or a 2xx body of another shape."""


class FrameTooLargeError(NoukaiError):
    """One frame of a stream is larger than `max_frame_bytes`; asking again would bring it again."""


class AuthenticationError(NoukaiError):
    """The key is missing, malformed, or refused (401)."""

    def __init__(self, message: str, *, www_authenticate: str | None = None, **attributes: Any) -> None:
        super().__init__(message, **attributes)
        self.www_authenticate = www_authenticate


class InsufficientCreditsError(NoukaiError):
    """The balance is too low (402)."""


class PermissionDeniedError(NoukaiError):
    """The key is valid, but not for this (403)."""


class FlowNotFoundError(NoukaiError):
    """There is no such flow, run or job (404)."""


class SessionNotFoundError(NoukaiError):
    """The service says that it knows no session of this id: nothing was run in it (404)."""


class SessionExpiredError(NoukaiError):
    """The service has pruned the session (410): it cannot tell what was run in it."""


class ResultNotRecordedError(NoukaiError):
    """The record of a run does not tell its result: not yet, not in whole, or not at all; `code` says which."""


class RateLimitError(NoukaiError):
    """Too many requests (429); `retry_after` holds the server's wish in seconds, if it named one."""


class FlowExecutionError(NoukaiError):
    """The server refused or failed the request (every other non-2xx status), or the run it tells of has failed."""


class StepFailedError(FlowExecutionError, AttributeError):
    """The `output` of a step that failed was read. It has none, as `hasattr(event, "output")` says, too (WIRE.md 8.15)."""


class ToolCallLimitError(NoukaiError):
    """The flow asked for more tool rounds than `max_tool_rounds` allows. The run stays paused on the server."""


class CallInterruptedError(NoukaiError):
    """Another thread ended this call, by `Interruption.interrupt()`. The run on the service was not told, and may go on.

    `sent` is False only if it is certain that none of the call's requests reached the server.
    """


class ClientClosedError(NoukaiError, RuntimeError):
    """The client was closed before this call; nothing was sent. Make a new client, or close later."""


class ReplayError(NoukaiError):
    """A session cannot be played back. Base of the errors of replay."""


class ReplayDisabledError(ReplayError):
    """Replay is switched off. Never raised: without NOUKAI_REPLAY_ENABLED a scope captures instead."""


class ReplayInvalidSessionError(ReplayError):
    """The session id is not a UUID, or the service refused it (400)."""


class ReplayForbiddenError(ReplayError):
    """The session belongs to another project than the key (403)."""


class ReplaySessionNotFoundError(ReplayError, SessionNotFoundError):
    """The service knows no session of this id (404)."""


class ReplaySessionExpiredError(ReplayError, SessionExpiredError):
    """The service has pruned the session (410). Record it again."""


class ReplayNoSnapshotsError(ReplayError):
    """The session was recorded without outputs. Record it again with the trace capture mode `full` or `redacted`."""


class ReplayMissError(ReplayError):
    """A call that the recording has no answer to: the code has changed since, or the recording is incomplete."""


class ReplayLeftoverError(ReplayError):
    """The scope ended, and recorded runs were not asked for: the code has changed since, or stopped early."""
