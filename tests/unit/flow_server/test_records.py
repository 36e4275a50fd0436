"""What later calls, traces and replay will be told about a run; and that an unsent frame is not taken for sent."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from starlette.types import Message

from noukai_worker.dev.flow_server.connection import CallerGone
from noukai_worker.dev.flow_server.events import EventStream
from noukai_worker.dev.flow_server.runs import Runs
from tests.support.flow_server import a_run


def test_a_tool_round_goes_on_with_the_same_attempt_and_a_finished_step_starts_another() -> None:
    run = a_run()
    (step,) = run.steps
    record = run.begin_step(step, 1.0)
    run.status = "paused"
    assert run.resume_step(step, 2.0) is record
    assert run.status == "running"
    record.status = "completed"
    again = run.resume_step(step, 3.0)
    assert [(kept.attempt, kept.started_at) for kept in run.records] == [(1, 1.0), (2, 3.0)]
    assert again is run.records[1]


def test_the_oldest_run_is_forgotten_beyond_the_limit() -> None:
    runs = Runs(limit=2)
    kept = [a_run(message=str(number)) for number in range(3)]
    for run in kept:
        runs.add(run)
    assert [runs.find(run.execution_id) for run in kept] == [None, kept[1], kept[2]]
    assert runs.find(None) is None


def test_a_frame_for_a_closed_connection_is_not_taken_for_written() -> None:
    transport = SimpleNamespace(is_closing=lambda: True)
    scope = {"type": "http", "extensions": {"noukai.transport": transport}}

    async def send(message: Message) -> None:
        """Drop it without a word, as uvicorn does."""

    with pytest.raises(CallerGone):
        asyncio.run(EventStream(scope, send, None).emit("step_completed", {}))
