"""Sessions: which call belongs to which, and what the log hears of them (WIRE.md 6.7, 6.9)."""

from __future__ import annotations

import uuid
from typing import Any

from noukai_sdk import (
    ReplayLeftoverError,
    ReplaySessionNotFoundError,
    current_session_id,
    replay,
)

from .playback import HELLO, TWO_STEPS, recorded
from .stage import Side, caught, control, done, items, scenario


def told() -> list[Any]:
    """The session of each request."""
    return [request["session_id"] for request in control("GET", "counts")["requests"]]


@scenario([["capture", True, True, True], [True, True, True, "mine"], [None, None]])
async def a_scope_that_records(side: Side) -> Any:
    flow = side.flow(TWO_STEPS)
    before = current_session_id()
    async with side.scope() as scope:
        inside = current_session_id()
        outcome = await done(flow.execute("x"))
        await items(flow.steps("x"))
        await done(flow.execute("x", session_id="mine"))
    ours = scope.session_id
    return [
        [scope.mode.value, str(uuid.UUID(ours)) == ours, inside == ours, outcome.session_id == ours],
        [one if one == "mine" else one == ours for one in told()],
        [before, current_session_id()],
    ]


@scenario(["normal", None, None, [None]])
async def a_scope_that_does_nothing(side: Side) -> Any:
    async with side.scope(capture=False) as scope:
        await done(side.flow(HELLO).execute("x"))
        return [scope.mode.value, scope.session_id, current_session_id(), told()]


@scenario(["of-the-client"])
async def the_client_s_session_wins_over_a_scope(side: Side) -> Any:
    async with side.scope():
        await done(side.flow(HELLO, session_id="of-the-client").execute("x"))
    return told()


@scenario(["Hello, Ada!", "Hello, Bob!", True, True, "greet"])
async def a_function_that_is_recorded(side: Side) -> Any:
    flow = side.flow(HELLO)
    if side.name == "sync":

        @replay
        def greet(name: str) -> Any:
            return [flow.execute(name).output, current_session_id()]
    else:

        @replay
        async def greet(name: str) -> Any:
            return [(await flow.execute(name)).output, current_session_id()]

    first, second = await done(greet("Ada")), await done(greet("Bob"))
    return [first[0], second[0], told() == [first[1], second[1]], first[1] != second[1], greet.__name__]


@scenario(
    [
        ["scope_open", "capture", "<id 1>", None],
        ["scope_close", "capture", "<id 1>", None],
        ["scope_open", "replay", "<id 2>", None],
        ["request", None, None, "/seq/sessions/<id 2>"],
        ["response", None, None, "/seq/sessions/<id 2>"],
        ["scope_close", "replay", "<id 2>", None],
    ]
)
async def what_the_log_is_told(side: Side) -> Any:
    session, log = await recorded(side, (HELLO, "execute")), []
    client = side.client(log_handler=log.append)
    async with side.scope(transport=client._transport):
        pass
    async with side.scope(replay_session_id=session, transport=client._transport):
        await done(client.flow(HELLO).execute("x"))
    return [[entry["phase"], entry.get("mode"), entry.get("session_id"), entry.get("path")] for entry in log]


@scenario(["scope_open", "request", "response"])
async def what_the_log_is_told_of_a_session_that_is_not_there(side: Side) -> Any:
    log: list[dict[str, Any]] = []
    client = side.client(log_handler=log.append)

    async def enter() -> None:
        async with side.scope(replay_session_id=str(uuid.uuid4()), transport=client._transport):
            pass

    await caught(ReplaySessionNotFoundError, enter)
    return [entry["phase"] for entry in log]


@scenario(["scope_open", "request", "response", "scope_close"])
async def what_the_log_is_told_of_leftovers(side: Side) -> Any:
    session, log = await recorded(side, (HELLO, "execute")), []
    client = side.client(log_handler=log.append)

    async def enter() -> None:
        async with side.scope(replay_session_id=session, transport=client._transport):
            pass

    await caught(ReplayLeftoverError, enter)
    return [entry["phase"] for entry in log]
