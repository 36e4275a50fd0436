"""Recorded sessions (WIRE.md 5.5), and a stage on which both clients play the same script."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from noukai_sdk import PausedResult, replay_scope, replay_scope_sync
from noukai_sdk.testing import Exchange, ScriptedTransport

SESSION = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def step(step_id: str, output: Any = None, **fields: Any) -> dict[str, Any]:
    return {"stepId": step_id, "attempt": 1, "status": "completed", "outputSnapshot": output, **fields}


def run(execution_id: str, trigger: str = "execute", *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    record = {"executionId": execution_id, "flowId": "F", "slug": "two-step", "triggerType": trigger}
    record |= {"status": "completed", "snapshotsAvailable": True, "steps": list(steps)}
    return {**record, **fields}


def session(*runs: Any, session_id: str = SESSION) -> Exchange:
    return Exchange.json({"sessionId": session_id, "executions": list(runs)})


class Stage:
    """A client and a scripted server; what is awaited here is played by either kind of client."""

    def __init__(self, side: Any, exchanges: Sequence[Exchange], **options: Any) -> None:
        self.kind: str = side.kind
        self.transport = ScriptedTransport(exchanges)
        self.client = side.client(self.transport, **options)
        self.flow = self.client.flow("acme/it/two-step")

    @property
    def sent(self) -> list[tuple[str, str, str | None]]:
        """Method, path without the base, and session header of each request."""
        return [
            (request.method, request.url.path.removeprefix("/api/v1"), request.headers.get("x-session-id"))
            for request in self.transport.requests
        ]

    @asynccontextmanager
    async def scope(self, **arguments: Any) -> AsyncIterator[Any]:
        if self.kind == "sync":
            with replay_scope_sync(**arguments) as scope:
                yield scope
        else:
            async with replay_scope(**arguments) as scope:
                yield scope

    def replaying(self, session_id: str = SESSION) -> Any:
        return self.scope(replay_session_id=session_id, transport=self.client)

    async def execute(self, *arguments: Any, **keywords: Any) -> Any:
        result = self.flow.execute(*arguments, **keywords)
        return await result if inspect.isawaitable(result) else result

    async def execute_async(self, *arguments: Any, **keywords: Any) -> Any:
        job = self.flow.execute_async(*arguments, **keywords)
        return await job if inspect.isawaitable(job) else job

    async def resume(self, paused: PausedResult) -> Any:
        if self.kind == "sync":
            return paused.resume_sync(tool_results=[])
        return await paused.resume(tool_results=[])

    async def all(self, stream: Any) -> list[Any]:
        return [item async for item in stream] if hasattr(stream, "__aiter__") else list(stream)


def types(events: Sequence[Any]) -> list[str]:
    return [event.event_type for event in events]
