"""Sessions played back: what answers in the service's place, and what cannot be played (WIRE.md 5.5, 6.9)."""

from __future__ import annotations

import os
import uuid
from typing import Any

from noukai_sdk import (
    FlowExecutionError,
    ReplayError,
    ReplayForbiddenError,
    ReplayInvalidSessionError,
    ReplayLeftoverError,
    ReplayMissError,
    ReplayNoSnapshotsError,
    ReplaySessionExpiredError,
    ReplaySessionNotFoundError,
)

from .stage import OTHER_KEY, Side, asked, brief, caught, control, done, event, items, result, scenario

TWO_STEPS = "acme/demo/two-step"
HELLO = "acme/demo/hello-world"


async def recorded(side: Side, *calls: tuple[str, str]) -> str:
    """The session in which these methods of these flows were called."""
    async with side.scope() as scope:
        for path, method in calls:
            flow = side.flow(path)
            if method == "execute_async":
                await done((await done(flow.execute_async("x"))).wait(poll_interval=0.02))
            elif method == "execute":
                await done(flow.execute("x"))
            else:
                await items(getattr(flow, method)("x"))
    return scope.session_id


async def replayed(side: Side, session_id: Any, play: Any = None) -> Any:
    """What `play` makes of a client while a session is played back."""
    client = side.client()
    async with side.scope(replay_session_id=session_id, transport=client._transport):
        return await play(client) if play else None


@scenario(
    [
        {
            "status": "completed",
            "flow_id": "<id 1>",
            "block_count": 2,
            "execution_id": "<id 2>",
            "session_id": "<id 3>",
            "requires_tool_calls": False,
            "result": {"text": "b: a: x"},
            "output": {"text": "b: a: x"},
        },
        ["Hello, x!", {"text": "b: a: x"}, {"text": "b: a: x"}],
        [],
        [["session", 200, None]],
        True,
    ]
)
async def executions_played_back(side: Side) -> Any:
    """In the order of recording, whatever goes in; nothing is asked but the session."""
    session = await recorded(side, (TWO_STEPS, "execute"), (HELLO, "execute"), (TWO_STEPS, "execute"))
    control("DELETE", "counts")

    async def play(client: Any) -> Any:
        calls = [client.flow(path).execute(text) for path, text in ((HELLO, "?"), (TWO_STEPS, "?"), (TWO_STEPS, "?"))]
        return [result(await done(call)) for call in calls]

    outcomes = await replayed(side, session, play)
    return [
        outcomes[1],
        [one["output"] for one in outcomes],
        asked(),
        asked("reads"),
        outcomes[0]["session_id"] == session,
    ]


@scenario(
    [
        ["run_started", {"run_id": "<id 1>", "execution_id": "<id 1>", "flow_id": "<id 2>", "step_count": 2}],
        ["step_started", {"step_id": "step-a", "step_index": 0}],
        ["step_completed", {"step_id": "step-a", "output": {"text": "a: x"}, "step_index": 0}],
        ["step_started", {"step_id": "step-b", "step_index": 1}],
        ["step_completed", {"step_id": "step-b", "output": {"text": "b: a: x"}, "step_index": 1}],
        ["flow_completed", {"execution_id": "<id 1>", "result": {"text": "b: a: x"}}],
    ]
)
async def events_played_back(side: Side) -> Any:
    session = await recorded(side, (TWO_STEPS, "events"))

    async def play(client: Any) -> Any:
        return [event(seen) for seen in await items(client.flow(TWO_STEPS).events("?"))]

    return await replayed(side, session, play)


@scenario(
    [
        "run_started",
        "step_started step-a 0",
        "step_completed step-a 0",
        "step_started step-b 1",
        "step_completed step-b 1",
        "flow_completed",
    ]
)
async def steps_played_back(side: Side) -> Any:
    session = await recorded(side, (TWO_STEPS, "steps"))

    async def play(client: Any) -> Any:
        return [brief(seen) for seen in await items(client.flow(TWO_STEPS).steps("?"))]

    return await replayed(side, session, play)


@scenario(
    [
        {"caught": "FlowExecutionError", "code": "MODEL_OVERLOADED", "execution_id": "<id 1>"},
        [
            "run_started",
            "step_started fine 0",
            "step_completed fine 0",
            "step_started broken 1",
            "step_error broken",
            "flow_completed",
        ],
    ]
)
async def failures_played_back(side: Side) -> Any:
    session = await recorded(side, ("acme/compat/broken", "execute"), ("acme/compat/broken", "events"))

    async def play(client: Any) -> Any:
        flow = client.flow("acme/compat/broken")
        refusal = await caught(FlowExecutionError, lambda: flow.execute("x"))
        return [refusal, [brief(seen) for seen in await items(flow.events("x"))]]

    return await replayed(side, session, play)


@scenario(["x → noon", "x → noon"])
async def an_execution_that_was_paused(side: Side) -> Any:
    """It is one run of the session, and is played back without its pauses."""
    tools = [{"type": "function", "function": {"name": "clock", "description": "The clock.", "parameters": {}}}]
    async with side.scope() as scope:
        paused = await done(side.flow("acme/demo/tools-enabled").execute("x", tools=tools))
        call = paused.tool_calls[0]["id"]
        live = await side.resume(paused, [{"role": "tool", "toolCallId": call, "content": "noon"}])

    async def play(client: Any) -> Any:
        return (await done(client.flow("acme/demo/tools-enabled").execute("?", tools=tools))).output

    return [live.output, await replayed(side, scope.session_id, play)]


@scenario(
    [
        {"caught": "ReplayMissError"},
        {"caught": "ReplayMissError"},
        {"caught": "ReplayMissError"},
        {"caught": "ReplayMissError"},
    ]
)
async def calls_that_were_not_recorded(side: Side) -> Any:
    session = await recorded(side, (HELLO, "execute"))

    async def play(client: Any) -> Any:
        flow = client.flow(HELLO)
        await done(flow.execute("x"))
        return [
            await caught(ReplayMissError, lambda: flow.execute("x")),
            await caught(ReplayMissError, lambda: client.flow(TWO_STEPS).execute("x")),
            await caught(ReplayMissError, lambda: items(flow.steps("x"))),
            await caught(ReplayMissError, lambda: flow.execute_async("x")),
        ]

    return await replayed(side, session, play)


@scenario({"caught": "ReplayLeftoverError", "says '2 unconsumed'": True})
async def runs_that_nobody_asked_for(side: Side) -> Any:
    session = await recorded(side, (HELLO, "execute"), (HELLO, "execute"))
    return await caught(ReplayLeftoverError, lambda: replayed(side, session), says="2 unconsumed")


@scenario({"caught": "LookupError", 'says "the application\'s own"': True})
async def an_error_in_the_scope_is_the_one_that_counts(side: Side) -> Any:
    session = await recorded(side, (HELLO, "execute"))

    async def play(client: Any) -> Any:
        raise LookupError("the application's own")

    return await caught(LookupError, lambda: replayed(side, session, play), says="the application's own")


@scenario({"caught": "ReplayError"})
async def a_session_with_a_job(side: Side) -> Any:
    session = await recorded(side, (HELLO, "execute_async"), (HELLO, "execute"))

    async def play(client: Any) -> Any:
        return (await done(client.flow(HELLO).execute("x"))).output

    return await caught(ReplayError, lambda: replayed(side, session, play))


@scenario(
    [
        {"caught": "ReplayInvalidSessionError", "status_code": 400},
        {"caught": "ReplaySessionNotFoundError", "status_code": 404},
        {"caught": "ReplayForbiddenError", "status_code": 403},
        {"caught": "ReplayNoSnapshotsError"},
        {"caught": "ReplaySessionExpiredError", "status_code": 410},
        [
            ["session", 404, "SESSION_NOT_FOUND"],
            ["session", 403, "FORBIDDEN"],
            ["session", 200, None],
            ["session", 410, "SESSION_EXPIRED"],
        ],
    ]
)
async def sessions_that_cannot_be_played(side: Side) -> Any:
    session, unsaid = await recorded(side, (HELLO, "execute")), "00000000-0000-4000-8000-000000000000"
    secret = await recorded(side, ("acme/compat/secret", "execute"))
    stranger = side.client(OTHER_KEY)

    async def as_stranger() -> None:
        async with side.scope(replay_session_id=session, transport=stranger._transport):
            pass

    refusals = [
        await caught(ReplayInvalidSessionError, lambda: replayed(side, "not-a-uuid")),
        await caught(ReplaySessionNotFoundError, lambda: replayed(side, unsaid)),
        await caught(ReplayForbiddenError, as_stranger),
        await caught(ReplayNoSnapshotsError, lambda: replayed(side, secret)),
    ]
    control("DELETE", f"sessions/{session}")
    return [*refusals, await caught(ReplaySessionExpiredError, lambda: replayed(side, session)), asked("reads")]


@scenario({"escaped": "AttributeError"})
async def a_scope_without_a_client(side: Side) -> Any:
    async def enter() -> None:
        async with side.scope(replay_session_id=str(uuid.uuid4())):
            pass

    return await caught(ReplayError, enter)


@scenario([["Hello, x!", True], [["session", 200, None], ["session", 200, None]]])
async def another_session_for_one_call(side: Side) -> Any:
    """It is read besides, and the scope's own run counts as asked for."""
    session, other = await recorded(side, (HELLO, "execute")), await recorded(side, (HELLO, "execute"))
    control("DELETE", "counts")

    async def play(client: Any) -> Any:
        outcome = await done(client.flow(HELLO).execute("x", session_id=other))
        return [outcome.output, outcome.session_id == other]

    return [await replayed(side, session, play), asked("reads")]


@scenario(["capture", True, 2])
async def replay_that_is_switched_off(side: Side) -> Any:
    """The session is recorded anew, under another id."""
    session = await recorded(side, (HELLO, "execute"))
    os.environ["NOUKAI_REPLAY_ENABLED"] = "no"
    try:
        async with side.scope(replay_session_id=session, transport=side.client()._transport) as scope:
            await done(side.flow(HELLO).execute("x"))
    finally:
        os.environ["NOUKAI_REPLAY_ENABLED"] = "1"
    return [scope.mode.value, scope.session_id != session, len(asked())]
