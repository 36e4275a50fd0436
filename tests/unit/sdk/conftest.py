"""Scripted conversations, played by both clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from noukai_sdk import AsyncNoukai, Checkpoint, Frame, Noukai
from noukai_sdk.testing import Exchange, ScriptedTransport


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOUKAI_API_KEY", "NOUKAI_ENV", "NOUKAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def _frame(name: str, /, **payload: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(payload)}\n\n".encode()


@pytest.fixture
def frame() -> Callable[..., bytes]:
    """Writes one frame."""
    return _frame


@dataclass
class Played:
    """What came out of a stream, and what went over the wire."""

    transport: ScriptedTransport
    items: list[Any] = field(default_factory=list)
    error: Exception | None = None
    checkpoint: Checkpoint | None = None

    @property
    def types(self) -> list[str]:
        return [item.type if isinstance(item, Frame) else item.event_type for item in self.items]


class Side:
    """One of the two clients, behind the same face."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def client(self, transport: ScriptedTransport, **options: Any) -> Any:
        options = {"api_key": "nk_test", "base_url": "http://localhost/api/v1", "max_retries": 0, **options}
        if self.kind == "sync":
            return Noukai(**options, http_client=httpx.Client(transport=transport))
        return AsyncNoukai(**options, http_client=httpx.AsyncClient(transport=transport))

    def execute(
        self, exchanges: Sequence[Exchange], *args: Any, options: dict[str, Any] | None = None, **kwargs: Any
    ) -> tuple[Any, ScriptedTransport]:
        transport = ScriptedTransport(exchanges)
        client = self.client(transport, **(options or {}))
        result = client.flow("acme/it/two-step").execute(*args, **kwargs)
        return (result if self.kind == "sync" else asyncio.run(_awaited(result))), transport

    def flow(self, exchanges: Sequence[Exchange], **options: Any) -> tuple[Any, ScriptedTransport]:
        """A flow whose server answers with these exchanges."""
        transport = ScriptedTransport(exchanges)
        return self.client(transport, **options).flow("acme/it/two-step"), transport

    def get(self, answer: Any) -> Any:
        """What a method returned, awaited if the client is async."""
        return answer if self.kind == "sync" else asyncio.run(_awaited(answer))

    def resume(self, paused: Any, results: Any) -> Any:
        if self.kind == "sync":
            return paused.resume_sync(tool_results=results)
        return asyncio.run(_awaited(paused.resume(tool_results=results)))

    def play(
        self,
        exchanges: Sequence[Exchange],
        *args: Any,
        method: str = "events",
        batches: bool = False,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Played:
        played = Played(ScriptedTransport(exchanges))
        flow = self.client(played.transport, **(options or {})).flow("acme/it/two-step")
        stream = getattr(flow, method)(*args, **kwargs)
        items = stream.batches() if batches else stream
        try:
            if self.kind == "sync":
                for item in items:
                    played.items.extend(item if batches else [item])
            else:
                asyncio.run(_collect(items, played.items, batches))
        except Exception as error:
            played.error = error
        played.checkpoint = stream.checkpoint
        return played


async def _awaited(value: Any) -> Any:
    return await value


async def _collect(items: Any, into: list[Any], batches: bool) -> None:
    async for item in items:
        into.extend(item if batches else [item])


@pytest.fixture(params=["sync", "async"])
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


_CALLS = [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]
_TURNS = [{"role": "user", "content": "weather?"}, {"role": "assistant", "content": None, "toolCalls": _CALLS}]
_COMPLETED = {"stepId": "step-a", "name": "A", "output": {"text": "a"}, "durationMs": 3, "costUsd": "0.000001"}
_COMPLETED["tokens"] = {"prompt": 3, "completion": 4, "total": 7}


@pytest.fixture
def two_steps() -> list[Exchange]:
    """The first transcript of WIRE.md 4.6."""
    return [
        Exchange(
            chunks=[
                _frame("run_started", executionId="E", flowId="F", stepCount=2),
                _frame("step_started", stepId="step-a", name="A", stepIndex=0),
                _frame("step_completed", **_COMPLETED),
                _frame("step_paused", executionId="E", stepIndex=0, nextStepIndex=1),
            ]
        ),
        Exchange(
            chunks=[
                _frame("step_started", stepId="step-b", name="B", stepIndex=0),
                _frame("step_completed", stepId="step-b", name="B", output={"text": "b"}),
                _frame("flow_completed", executionId="E", result={"text": "b"}),
            ]
        ),
    ]


@pytest.fixture
def one_response(two_steps: list[Exchange]) -> list[Exchange]:
    """The same flow with runRemaining."""
    first, second = (exchange.chunks for exchange in two_steps)
    return [Exchange(chunks=[b"".join([*first[:-1], *second])])]  # type: ignore[list-item]


@pytest.fixture
def tool_pause() -> list[Exchange]:
    """The last transcript of WIRE.md 4.6."""
    pause = _frame(
        "step_paused_for_tool_calls",
        runId="E",
        executionId="E",
        stepId="w",
        stepIndex=0,
        iterationsUsed=1,
        toolCallMessages=_TURNS,
        toolCalls=_CALLS,
        accumulatedOutputs={},
    )
    return [
        Exchange(chunks=[_frame("run_started", executionId="E"), _frame("step_started", stepId="w"), pause]),
        Exchange(
            chunks=[
                _frame("step_completed", stepId="w", output="sunny"),
                _frame("flow_completed", executionId="E", result="sunny"),
            ]
        ),
    ]


@pytest.fixture
def turns() -> list[dict[str, Any]]:
    """The toolCallMessages of `tool_pause`."""
    return _TURNS
