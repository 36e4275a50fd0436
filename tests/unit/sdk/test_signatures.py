"""The published package's methods take what they took: names, kinds and defaults (WIRE.md 6.2)."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import noukai_sdk
from noukai_sdk import (
    AsyncFlow,
    AsyncJob,
    AsyncNoukai,
    AsyncRun,
    AsyncSession,
    Flow,
    Job,
    Noukai,
    PausedResult,
    Run,
    Session,
)

REQUIRED = inspect.Parameter.empty
Table = dict[str, Any]

_INPUT: Table = {"parameters": None, "block_overrides": None}
_TOOLS: Table = {"attachments": None, "tools": None, "tool_choice": None, "tool_handler": None, "max_tool_rounds": None}
_STREAM: Table = {**_INPUT, "input_overrides": None}
_TRACED: Table = {"trace": False, "version": "production"}

# Method: the arguments that may be given by position, and those that may not, with their defaults.
PUBLISHED: dict[str, tuple[Table, Table]] = {
    "Noukai.__init__": (
        {"api_key": None},
        {
            "env": None,
            "org": None,
            "project": None,
            "session_id": None,
            "timeout": None,
            "max_retries": None,
            "log_handler": None,
            "log_payloads": False,
        },
    ),
    "Noukai.flow": ({"slug": None}, {"org": None, "project": None}),
    "Flow.execute": (
        {"message": None},
        {"messages": None, **_INPUT, **_TOOLS, **_TRACED, "timeout": None, "session_id": None},
    ),
    "Flow.execute_async": ({"message": None}, {**_INPUT, **_TRACED, "timeout": None, "session_id": None}),
    "Flow.steps": ({"message": None}, {**_STREAM, **_TOOLS, **_TRACED, "session_id": None}),
    "Flow.events": ({"message": None}, {**_STREAM, **_TOOLS, "run_remaining": False, **_TRACED, "session_id": None}),
    "Flow.run": ({"execution_id": REQUIRED}, {}),
    "Job.poll": ({}, {"timeout": None}),
    "Job.wait": ({}, {"timeout": 300.0, "poll_interval": 2.0}),
    "Run.trace": ({}, {"timeout": None}),
    "Run.step_trace": ({"step_id": REQUIRED}, {"attempt": "latest", "loop_index": None, "timeout": None}),
    "Run.live_trace": ({}, {}),
}
COROUTINES = {"Flow.execute", "Flow.execute_async", "Job.poll", "Job.wait", "Run.trace", "Run.step_trace"}
TWINS = [(Noukai, AsyncNoukai), (Flow, AsyncFlow), (Job, AsyncJob), (Run, AsyncRun), (Session, AsyncSession)]


def arguments(function: Any) -> tuple[Table, Table]:
    """By position, and by name only; without self."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    assert {parameter.kind.name for parameter in parameters} <= {"POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"}
    by_position = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    return by_position, {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


@pytest.mark.parametrize("side", ["", "Async"])
@pytest.mark.parametrize("method", PUBLISHED)
def test_published_methods_take_what_they_took(method: str, side: str) -> None:
    kind, _, name = method.partition(".")
    function = getattr(getattr(noukai_sdk, side + kind), name)
    by_position, by_name = arguments(function)
    published_by_position, published_by_name = PUBLISHED[method]
    assert list(by_position.items()) == list(published_by_position.items())
    assert {argument: by_name.get(argument, "missing") for argument in published_by_name} == published_by_name
    assert REQUIRED not in [default for argument, default in by_name.items() if argument not in published_by_name]
    assert inspect.iscoroutinefunction(function) == (side == "Async" and method in COROUTINES)


def test_manual_resumes_take_what_they_took() -> None:
    for method in (PausedResult.resume, PausedResult.resume_sync):
        assert arguments(method) == ({}, {"tool_results": REQUIRED})
    assert inspect.iscoroutinefunction(PausedResult.resume)
    assert not inspect.iscoroutinefunction(PausedResult.resume_sync)


@pytest.mark.parametrize(("sync", "async_"), TWINS)
def test_sync_and_async_classes_are_alike(sync: type, async_: type) -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")} - {"close", "aclose"}

    assert public(sync) == public(async_)
    for name in {*public(sync), "__init__"}:
        if inspect.isfunction(method := getattr(sync, name)):
            assert list(map(list, map(dict.items, arguments(method)))) == list(
                map(list, map(dict.items, arguments(getattr(async_, name))))
            )
