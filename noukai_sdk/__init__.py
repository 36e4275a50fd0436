"""This room is the door of the Noukai SDK: everything public is imported from here (and `noukai_sdk.testing`).

from noukai_sdk import Noukai

with Noukai() as client:                      # key from NOUKAI_API_KEY
    print(client.flow("acme/demo/greet").execute("hello").output)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from noukai_sdk._client import AsyncNoukai, Noukai
from noukai_sdk._errors import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
    CallInterruptedError,
    ClientClosedError,
    FlowExecutionError,
    FlowNotFoundError,
    FrameTooLargeError,
    InsufficientCreditsError,
    NoukaiError,
    PermissionDeniedError,
    PoolTimeoutError,
    RateLimitError,
    ReplayDisabledError,
    ReplayError,
    ReplayForbiddenError,
    ReplayInvalidSessionError,
    ReplayLeftoverError,
    ReplayMissError,
    ReplayNoSnapshotsError,
    ReplaySessionExpiredError,
    ReplaySessionNotFoundError,
    ResultNotRecordedError,
    SessionExpiredError,
    SessionNotFoundError,
    StepFailedError,
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
    ToolCallLimitError,
)
from noukai_sdk._interruption import Interruption
from noukai_sdk._version import __version__

if TYPE_CHECKING:
    from noukai_sdk._async_flow import AsyncFlow
    from noukai_sdk._flow import Flow
    from noukai_sdk._jobs import AsyncJob, Job
    from noukai_sdk._models.checkpoint import Checkpoint
    from noukai_sdk._models.events import (
        FlowCompleted,
        RunStarted,
        StepCompleted,
        StepFailed,
        StepInput,
        StepOutput,
        StepPaused,
        StepStarted,
        StreamEvent,
        TokenBreakdown,
        ToolCallsRequired,
    )
    from noukai_sdk._models.frames import Frame
    from noukai_sdk._models.jobs import JobAccepted, JobStatus
    from noukai_sdk._models.requests import ChatMessage
    from noukai_sdk._models.results import ExecuteResult, PausedResult
    from noukai_sdk._models.sessions import RecordedRun, RecordedStep, SessionRecord
    from noukai_sdk._models.traces import RunSummary, StepAttempts, StepTrace, Trace
    from noukai_sdk._relay import AsyncRelayFlow, RelayExecuteTransport, RelayFlow, RelaySyncExecuteTransport
    from noukai_sdk._replay import replay, replay_scope, replay_scope_sync
    from noukai_sdk._runs import AsyncRun, Run
    from noukai_sdk._scope import current_session_id
    from noukai_sdk._sessions import AsyncSession, Session
    from noukai_sdk._streams import AsyncEventStream, AsyncLiveTrace, EventStream, LiveTrace

__all__ = [
    "APIConnectionError",
    "APIResponseError",
    "APITimeoutError",
    "AsyncEventStream",
    "AsyncFlow",
    "AsyncJob",
    "AsyncLiveTrace",
    "AsyncNoukai",
    "AsyncRelayFlow",
    "AsyncRun",
    "AsyncSession",
    "AuthenticationError",
    "CallInterruptedError",
    "ChatMessage",
    "Checkpoint",
    "ClientClosedError",
    "EventStream",
    "ExecuteResult",
    "Flow",
    "FlowCompleted",
    "FlowExecutionError",
    "FlowNotFoundError",
    "Frame",
    "FrameTooLargeError",
    "InsufficientCreditsError",
    "Interruption",
    "Job",
    "JobAccepted",
    "JobStatus",
    "LiveTrace",
    "Noukai",
    "NoukaiError",
    "PausedResult",
    "PermissionDeniedError",
    "PoolTimeoutError",
    "RateLimitError",
    "RecordedRun",
    "RecordedStep",
    "RelayExecuteTransport",
    "RelayFlow",
    "RelaySyncExecuteTransport",
    "ReplayDisabledError",
    "ReplayError",
    "ReplayForbiddenError",
    "ReplayInvalidSessionError",
    "ReplayLeftoverError",
    "ReplayMissError",
    "ReplayNoSnapshotsError",
    "ReplaySessionExpiredError",
    "ReplaySessionNotFoundError",
    "ResultNotRecordedError",
    "Run",
    "RunStarted",
    "RunSummary",
    "Session",
    "SessionExpiredError",
    "SessionNotFoundError",
    "SessionRecord",
    "StepAttempts",
    "StepCompleted",
    "StepFailed",
    "StepFailedError",
    "StepInput",
    "StepOutput",
    "StepPaused",
    "StepStarted",
    "StepTrace",
    "StreamEvent",
    "StreamInterruptedError",
    "StreamProtocolError",
    "StreamTimeoutError",
    "TokenBreakdown",
    "ToolCallLimitError",
    "ToolCallsRequired",
    "Trace",
    "__version__",
    "current_session_id",
    "replay",
    "replay_scope",
    "replay_scope_sync",
]

# Rooms that import httpx or pydantic are opened when a name of theirs is first asked for (PEP 562).
_ROOMS = {
    "_async_flow": ("AsyncFlow",),
    "_flow": ("Flow",),
    "_jobs": ("AsyncJob", "Job"),
    "_models.checkpoint": ("Checkpoint",),
    "_models.events": (
        "FlowCompleted",
        "RunStarted",
        "StepCompleted",
        "StepFailed",
        "StepInput",
        "StepOutput",
        "StepPaused",
        "StepStarted",
        "StreamEvent",
        "TokenBreakdown",
        "ToolCallsRequired",
    ),
    "_models.frames": ("Frame",),
    "_models.jobs": ("JobAccepted", "JobStatus"),
    "_models.requests": ("ChatMessage",),
    "_models.results": ("ExecuteResult", "PausedResult"),
    "_models.sessions": ("RecordedRun", "RecordedStep", "SessionRecord"),
    "_models.traces": ("RunSummary", "StepAttempts", "StepTrace", "Trace"),
    "_relay": ("AsyncRelayFlow", "RelayExecuteTransport", "RelayFlow", "RelaySyncExecuteTransport"),
    "_replay": ("replay", "replay_scope", "replay_scope_sync"),
    "_runs": ("AsyncRun", "Run"),
    "_scope": ("current_session_id",),
    "_sessions": ("AsyncSession", "Session"),
    "_streams": ("AsyncEventStream", "AsyncLiveTrace", "EventStream", "LiveTrace"),
}
_HOMES = {name: f"{__name__}.{room}" for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
