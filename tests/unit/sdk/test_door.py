"""The public face: names, signatures, version."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys

import pytest

import noukai_sdk
from noukai_sdk import AsyncFlow, AsyncNoukai, Flow, Noukai

EXPORTS = [
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


def test_exports_are_locked() -> None:
    assert sorted(noukai_sdk.__all__) == sorted(EXPORTS)
    assert all(hasattr(noukai_sdk, name) for name in EXPORTS)
    assert {"trace", "trace_scope", "trace_scope_sync"}.isdisjoint(dir(noukai_sdk))


def test_version_is_the_distribution_s() -> None:
    assert noukai_sdk.__version__ == importlib.metadata.version("noukai-worker")


def _arguments(function: object) -> list[tuple[str, object, object]]:
    signature = inspect.signature(function)  # type: ignore[arg-type]
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


@pytest.mark.parametrize("method", ["execute", "steps", "events"])
def test_flows_take_the_same_arguments(method: str) -> None:
    assert _arguments(getattr(Flow, method)) == _arguments(getattr(AsyncFlow, method))


def test_clients_take_the_same_arguments_and_have_the_same_methods() -> None:
    assert _arguments(Noukai.__init__) == _arguments(AsyncNoukai.__init__)
    assert _arguments(Noukai.flow) == _arguments(AsyncNoukai.flow)

    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")} - {"close", "aclose"}

    assert public(Noukai) == public(AsyncNoukai)
    assert public(Flow) == public(AsyncFlow)


def test_arguments_of_the_published_sdk_are_taken() -> None:
    common = (
        "message parameters block_overrides attachments tools tool_choice tool_handler max_tool_rounds trace version"
    )
    wanted = {
        "execute": f"{common} session_id messages timeout",
        "steps": f"{common} session_id input_overrides",
        "events": f"{common} session_id input_overrides run_remaining",
    }
    for method, names in wanted.items():
        assert set(names.split()) <= {name for name, *_ in _arguments(getattr(Flow, method))}


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
