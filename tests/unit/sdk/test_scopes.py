"""Scopes: which session a call is recorded under (WIRE.md 6.9)."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import uuid
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

from noukai_sdk import (
    AsyncNoukai,
    Noukai,
    ReplayError,
    ReplayInvalidSessionError,
    current_session_id,
    replay,
    replay_scope,
    replay_scope_sync,
)
from noukai_sdk._protocol.cassette import Cassette
from noukai_sdk._protocol.session import NO_SESSION
from noukai_sdk._scope import Scope, ScopeMode, inside
from noukai_sdk.testing import Exchange
from tests.support.recordings import SESSION, Stage


@pytest.fixture(autouse=True)
def _replay_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOUKAI_REPLAY_ENABLED", raising=False)


def done() -> Exchange:
    return Exchange.json({"status": "completed", "result": 1, "flowId": "F", "blockCount": 1, "executionId": "E"})


def test_calls_in_a_scope_are_recorded_under_its_new_session(side: Any, two_steps: list[Exchange]) -> None:
    async def script() -> None:
        stage = Stage(side, [done(), *two_steps, done()])
        async with stage.scope() as scope:
            assert (scope.mode.value, current_session_id()) == ("capture", scope.session_id)
            assert str(uuid.UUID(scope.session_id)) == scope.session_id
            assert (await stage.execute("hi")).session_id == scope.session_id
            await stage.all(stage.flow.events("hi"))
        assert current_session_id() is None
        assert (await stage.execute("hi")).session_id is None
        assert [header for _, _, header in stage.sent] == [scope.session_id] * 3 + [None]

    asyncio.run(script())


def test_a_queued_run_belongs_to_the_session_of_its_scope(side: Any) -> None:
    async def script() -> None:
        receipt = {"executionId": "E", "status": "started", "flowId": "F", "blockCount": 1}
        stage = Stage(side, [Exchange.json(receipt, 202)])
        async with stage.scope() as scope:
            job = await stage.execute_async("hi")
        assert job.session_id == scope.session_id == stage.sent[0][2]

    asyncio.run(script())


def test_a_scope_that_does_not_capture_changes_nothing(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [done()])
        async with stage.scope(capture=False) as scope:
            assert (scope.mode.value, scope.session_id, current_session_id()) == ("normal", None, None)
            await stage.execute("hi")
        assert stage.sent[0][2] is None

    asyncio.run(script())


@pytest.mark.parametrize(
    ("given", "default", "sent"),
    [
        ("argument", "client", "argument"),
        (None, "client", "client"),
        (None, None, "the scope's"),
        ("", "client", None),
        ("", None, None),
        (None, "", None),
    ],
)
def test_the_argument_goes_before_the_client_and_the_client_before_the_scope(
    side: Any, given: str | None, default: str | None, sent: str | None, two_steps: list[Exchange]
) -> None:
    async def script() -> None:
        stage = Stage(side, [done(), *two_steps], session_id=default)
        async with stage.scope() as scope:
            result = await stage.execute("hi", session_id=given)
            await stage.all(stage.flow.steps("hi", session_id=given))
        wanted = scope.session_id if sent == "the scope's" else sent
        assert [header for _, _, header in stage.sent] == [wanted] * 3
        assert result.session_id == wanted

    asyncio.run(script())


def test_a_stream_belongs_to_the_scope_of_its_first_next(side: Any, two_steps: list[Exchange]) -> None:
    async def script() -> None:
        stage = Stage(side, two_steps)
        async with stage.scope():
            events = stage.flow.events("hi")
        async with stage.scope() as scope:
            if stage.kind == "sync":
                next(events)
            else:
                await anext(events)
        await stage.all(events)
        # The second request, outside, still belongs to the run.
        assert [header for _, _, header in stage.sent] == [scope.session_id] * 2

    asyncio.run(script())


def test_a_result_that_is_resumed_elsewhere_keeps_its_session(side: Any) -> None:
    paused = {"status": "tool_calls_required", "executionId": "E", "pausedAtStep": "s", "iterationsUsed": 1}
    paused |= {"toolCallMessages": [], "toolCalls": [{"id": "c"}], "flowId": "F", "blockCount": 1}
    transport_stage: list[Stage] = []

    async def script() -> Any:
        stage = Stage(side, [Exchange.json(paused), done()])
        transport_stage.append(stage)
        async with stage.scope() as scope:
            first = await stage.execute("hi")
        assert first.session_id == scope.session_id
        return first

    first = asyncio.run(script())
    last = side.resume(first, [{"toolCallId": "c", "content": "x"}])
    assert last.session_id == first.session_id is not None
    assert [header for _, _, header in transport_stage[0].sent] == [first.session_id, None]


def test_scopes_nest_and_are_left_in_order(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [])
        async with stage.scope() as outer:
            async with stage.scope() as inner:
                assert current_session_id() == inner.session_id != outer.session_id
            assert current_session_id() == outer.session_id
            with pytest.raises(RuntimeError, match="boom"):
                async with stage.scope():
                    raise RuntimeError("boom")
            assert current_session_id() == outer.session_id
        assert current_session_id() is None

    asyncio.run(script())


def test_tasks_have_scopes_of_their_own() -> None:
    async def one() -> tuple[str | None, str | None]:
        async with replay_scope() as scope:
            await asyncio.sleep(0)
            return scope.session_id, current_session_id()

    async def script() -> None:
        seen = await asyncio.gather(*(one() for _ in range(3)))
        assert all(own == current for own, current in seen)
        assert len({own for own, _ in seen}) == 3
        async with replay_scope() as scope:
            assert await asyncio.to_thread(current_session_id) == scope.session_id

    asyncio.run(script())


def test_a_scope_may_be_left_in_another_context() -> None:
    scope = replay_scope_sync()
    contextvars.copy_context().run(scope.__enter__)
    with replay_scope_sync() as mine:
        scope.__exit__(None, None, None)
        assert current_session_id() == mine.session_id


def test_without_permission_a_replay_is_a_capture(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def mode(**arguments: Any) -> str:
        async with Stage(side, []).scope(replay_session_id=SESSION, **arguments) as scope:
            assert scope.session_id != SESSION
            return str(scope.mode.value)

    assert asyncio.run(mode()) == "capture"
    assert asyncio.run(mode(capture=False)) == "normal"
    monkeypatch.setenv("NOUKAI_REPLAY_ENABLED", "0")
    assert asyncio.run(mode()) == "capture"


@pytest.mark.parametrize("word", ["1", "true", "TRUE", "yes", "On"])
def test_the_environment_is_looked_at_when_the_scope_opens(
    side: Any, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("NOUKAI_REPLAY_ENABLED", word)

    async def script() -> None:
        async with Stage(side, []).scope(replay_session_id="", transport=None) as scope:
            assert scope.mode.value == "capture"
        async with Stage(side, []).replaying("not-a-uuid"):
            pass

    with pytest.raises(ReplayInvalidSessionError, match="not a UUID") as raised:
        asyncio.run(script())
    assert (raised.value.status_code, raised.value.sent) == (400, False)


def test_a_wrong_transport_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUKAI_REPLAY_ENABLED", "1")
    with (
        pytest.raises(ReplayError, match="pass transport=client"),
        replay_scope_sync(replay_session_id=SESSION),
    ):
        pass
    with (
        pytest.raises(TypeError, match="must be a client, Noukai or AsyncNoukai, not str"),
        replay_scope_sync(transport="client"),  # type: ignore[arg-type]
    ):
        pass
    with (
        pytest.raises(TypeError, match="with Noukai, not with AsyncNoukai"),
        replay_scope_sync(replay_session_id=SESSION, transport=AsyncNoukai("nk_test")),  # type: ignore[arg-type]
    ):
        pass

    async def script() -> None:
        async with replay_scope(replay_session_id=SESSION, transport=Noukai("nk_test")):  # type: ignore[arg-type]
            pass

    with pytest.raises(TypeError, match="with AsyncNoukai, not with Noukai"):
        asyncio.run(script())


def test_the_log_hears_of_scopes_and_cannot_break_them(side: Any) -> None:
    heard: list[dict[str, Any]] = []

    def log(event: dict[str, Any]) -> None:
        heard.append(event)
        raise RuntimeError("a broken log")

    async def script() -> str:
        stage = Stage(side, [], log_handler=log)
        async with stage.scope(transport=stage.client._transport) as scope:
            assert len(heard) == 1
        with pytest.raises(KeyError):
            async with stage.scope(transport=stage.client, capture=False):
                raise KeyError
        return str(scope.session_id)

    captured = asyncio.run(script())
    assert heard == [
        {"phase": phase, "mode": mode, "session_id": session_id}
        for mode, session_id in (("capture", captured), ("normal", None))
        for phase in ("scope_open", "scope_close")
    ]


def test_calls_without_a_session_do_not_hear_of_scopes() -> None:
    with inside(Scope(ScopeMode.REPLAY, SESSION, Cassette(SESSION, []))):
        assert (NO_SESSION.id, NO_SESSION.cassette) == (None, None)
        NO_SESSION.refuse_replay("a call to a relay")


def test_replay_decorates_functions_and_coroutine_functions() -> None:
    @replay
    def plain(a: int, *, b: int = 0) -> tuple[int, int, str | None]:
        """What it does."""
        return a, b, current_session_id()

    @replay
    async def coroutine() -> str | None:
        await asyncio.sleep(0)
        return current_session_id()

    first, second = plain(1, b=2), plain(1)
    assert first[:2] == (1, 2)
    assert None is not first[2] != second[2] is not None
    assert (plain.__name__, plain.__doc__) == ("plain", "What it does.")
    assert inspect.iscoroutinefunction(coroutine)
    assert asyncio.run(coroutine()) is not None
    assert current_session_id() is None


def test_replay_decorates_objects_whose_call_is_async() -> None:
    class Work:
        async def __call__(self) -> str | None:
            await asyncio.sleep(0)
            return current_session_id()

    assert asyncio.run(replay(Work())()) is not None


def test_replay_refuses_what_cannot_be_called() -> None:
    for other in (3, classmethod(print)):
        with pytest.raises(TypeError, match="below @classmethod"):
            replay(other)  # type: ignore[arg-type]


def test_a_decorated_generator_is_in_its_scope_and_its_consumer_is_not() -> None:
    seen: list[str | None] = []

    @replay
    def numbers() -> Generator[int, str, str]:
        seen.append(current_session_id())
        try:
            got = yield 1
            seen.append(current_session_id())
            try:
                yield 2
            except KeyError:
                got += "!"
            yield 3
            return got
        finally:
            seen.append(current_session_id())

    assert inspect.isgeneratorfunction(numbers)
    generator = numbers()
    assert next(generator) == 1
    assert current_session_id() is None
    assert generator.send("sent") == 2
    assert generator.throw(KeyError()) == 3
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    assert stopped.value.value == "sent!"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert seen[0] is not None

    left = numbers()
    next(left)
    left.close()
    assert seen[-1] == seen[-2] is not None


def test_a_decorated_async_generator_is_in_its_scope_and_its_consumer_is_not() -> None:
    seen: list[str | None] = []

    @replay
    async def numbers() -> AsyncGenerator[int, str]:
        seen.append(current_session_id())
        try:
            await asyncio.sleep(0)
            seen.append((yield 1))
            try:
                yield 2
            except KeyError:
                yield 3
        finally:
            seen.append(current_session_id())

    async def script() -> None:
        generator = numbers()
        assert await anext(generator) == 1
        assert current_session_id() is None
        assert await generator.asend("sent") == 2
        assert await generator.athrow(KeyError()) == 3
        assert [item async for item in generator] == []
        assert seen[1] == "sent"
        assert seen[0] == seen[2] is not None
        left = numbers()
        await anext(left)
        await left.aclose()
        assert seen[-1] == seen[-2] is not None
        assert current_session_id() is None

    assert inspect.isasyncgenfunction(numbers)
    asyncio.run(script())


def test_scopes_take_the_arguments_of_the_published_sdk() -> None:
    for scope in (replay_scope, replay_scope_sync):
        parameters = inspect.signature(scope).parameters.values()
        assert [(p.name, p.default, p.kind) for p in parameters] == [
            ("replay_session_id", None, inspect.Parameter.KEYWORD_ONLY),
            ("capture", True, inspect.Parameter.KEYWORD_ONLY),
            ("transport", None, inspect.Parameter.KEYWORD_ONLY),
        ]
