"""This room is the door of the Noukai SDK: everything public is imported from here (and `noukai_sdk.testing`).

from noukai_sdk import Noukai

with Noukai() as client:                      # key from NOUKAI_API_KEY
    print(client.flow("acme/demo/greet").execute("hello").output)
"""

from noukai_sdk._async_flow import AsyncFlow
from noukai_sdk._client import AsyncNoukai, Noukai
from noukai_sdk._errors import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
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
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
    ToolCallLimitError,
)
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
from noukai_sdk._models.traces import RunSummary, StepAttempts, StepTrace, Trace
from noukai_sdk._replay import replay, replay_scope, replay_scope_sync
from noukai_sdk._runs import AsyncRun, Run
from noukai_sdk._scope import current_session_id
from noukai_sdk._streams import AsyncEventStream, AsyncLiveTrace, EventStream, LiveTrace
from noukai_sdk._version import __version__

__all__ = [
    "APIConnectionError",
    "APIResponseError",
    "APITimeoutError",
    "AsyncEventStream",
    "AsyncFlow",
    "AsyncJob",
    "AsyncLiveTrace",
    "AsyncNoukai",
    "AsyncRun",
    "AuthenticationError",
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
    "ReplayDisabledError",
    "ReplayError",
    "ReplayForbiddenError",
    "ReplayInvalidSessionError",
    "ReplayLeftoverError",
    "ReplayMissError",
    "ReplayNoSnapshotsError",
    "ReplaySessionExpiredError",
    "ReplaySessionNotFoundError",
    "Run",
    "RunStarted",
    "RunSummary",
    "StepAttempts",
    "StepCompleted",
    "StepFailed",
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
