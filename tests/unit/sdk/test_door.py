"""The public face: names, version, rooms."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys

import noukai_sdk

EXPORTS = [
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


def test_exports_are_locked() -> None:
    assert sorted(noukai_sdk.__all__) == sorted(EXPORTS)
    assert all(hasattr(noukai_sdk, name) for name in EXPORTS)
    assert {"trace", "trace_scope", "trace_scope_sync"}.isdisjoint(dir(noukai_sdk))


def test_version_is_the_distribution_s() -> None:
    assert noukai_sdk.__version__ == importlib.metadata.version("noukai-worker")


def test_every_module_says_what_it_is_for_and_protocol_does_no_io() -> None:
    own = {name: module for name, module in sys.modules.items() if name.startswith("noukai_sdk._protocol.")}
    assert own
    for name, module in own.items():
        source = inspect.getsource(module)
        assert not re.search(r"^\s*(?:import|from) (?:httpx|asyncio|time|os)\b", source, re.MULTILINE), name
    for name, module in sys.modules.items():
        if name.startswith("noukai_sdk"):
            assert (module.__doc__ or "").startswith("This room"), name


def test_nothing_is_printed_on_import() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import noukai_sdk"], capture_output=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == (b"", b"")
