"""This room is the door of the Noukai SDK: everything public is imported from here (and `noukai_sdk.testing`).

from noukai_sdk import Noukai

with Noukai() as client:                      # key from NOUKAI_API_KEY
    print(client.flow("acme/demo/greet").execute("hello").output)
"""

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
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
    ToolCallLimitError,
)
from noukai_sdk._flow import AsyncFlow, Flow
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
from noukai_sdk._models.requests import ChatMessage
from noukai_sdk._models.results import ExecuteResult, PausedResult
from noukai_sdk._relay import AsyncRelayFlow, RelayExecuteTransport, RelayFlow, RelaySyncExecuteTransport
from noukai_sdk._streams import AsyncEventStream, EventStream
from noukai_sdk._version import __version__

__all__ = [
    "APIConnectionError",
    "APIResponseError",
    "APITimeoutError",
    "AsyncEventStream",
    "AsyncFlow",
    "AsyncNoukai",
    "AsyncRelayFlow",
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
    "Noukai",
    "NoukaiError",
    "PausedResult",
    "PermissionDeniedError",
    "PoolTimeoutError",
    "RateLimitError",
    "RelayExecuteTransport",
    "RelayFlow",
    "RelaySyncExecuteTransport",
    "RunStarted",
    "StepCompleted",
    "StepFailed",
    "StepInput",
    "StepOutput",
    "StepPaused",
    "StepStarted",
    "StreamEvent",
    "StreamInterruptedError",
    "StreamProtocolError",
    "StreamTimeoutError",
    "TokenBreakdown",
    "ToolCallLimitError",
    "ToolCallsRequired",
    "__version__",
]
