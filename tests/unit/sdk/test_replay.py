"""Replay: recorded sessions answer calls in the service's place (WIRE.md 5.5, 6.9, 8.20)."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest

from noukai_sdk import (
    AuthenticationError,
    Checkpoint,
    FlowExecutionError,
    NoukaiError,
    PausedResult,
    ReplayForbiddenError,
    ReplayInvalidSessionError,
    ReplayLeftoverError,
    ReplayMissError,
    ReplayNoSnapshotsError,
    ReplaySessionExpiredError,
    ReplaySessionNotFoundError,
    StepCompleted,
    current_session_id,
)
from noukai_sdk._protocol.effects import Reply, Send, Sleep
from noukai_sdk._protocol.replay import read_session
from noukai_sdk.testing import Exchange
from tests.support.recordings import OTHER, SESSION, Stage, run, session, step, types

READ = ("GET", f"/seq/sessions/{SESSION}", None)
A, B = step("a", {"x": 1, "__rendered_prompt__": "p"}, durationMs=5), step("b", "out")
FAILED = step("b", None, status="failed", errorSnapshot={"code": "C", "message": "no luck"})


@pytest.fixture(autouse=True)
def _replay_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUKAI_REPLAY_ENABLED", "1")


def test_execute_is_answered_by_the_recording(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("E", "execute", A, B))], session_id="client")
        async with stage.scope(replay_session_id=SESSION, transport=stage.client._transport) as scope:
            assert (scope.mode.value, scope.session_id, current_session_id()) == ("replay", SESSION, SESSION)
            result = await stage.execute("anything", tools=[{"type": "function"}])
        assert (result.status, result.output, result.result) == ("completed", "out", "out")
        assert (result.flow_id, result.block_count, result.execution_id) == ("F", 2, "E")
        assert result.session_id == SESSION
        assert stage.sent == [READ]

    asyncio.run(script())


@pytest.mark.parametrize("run_remaining", [False, True])
def test_events_are_those_of_the_recorded_run(side: Any, run_remaining: bool) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("E", "step", A, B))])
        async with stage.replaying():
            stream = stage.flow.events("anything", run_remaining=run_remaining)
            events = await stage.all(stream)
        assert types(events) == [
            "run_started",
            *["step_started", "step_completed"] * 2,
            "flow_completed",
        ]
        started, _, first, _, second, completed = events
        assert (started.run_id, started.execution_id, started.flow_id, started.step_count) == ("E", "E", "F", 2)
        assert (first.step_id, first.output, first.duration_ms, first.step_index) == ("a", {"x": 1}, 5, 0)
        assert (second.step_id, second.output, second.duration_ms, second.step_index) == ("b", "out", None, 1)
        assert (completed.execution_id, completed.result) == ("E", "out")
        assert stream.execution_id == "E"
        assert stream.checkpoint == Checkpoint("E", 2, {"a": {"x": 1}, "b": "out"})
        assert stage.sent == [READ]

    asyncio.run(script())


def test_steps_are_filtered_as_live_ones_are(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("E", "step", A, B))])
        async with stage.replaying():
            steps = await stage.all(stage.flow.steps("anything"))
        assert all(isinstance(step, StepCompleted) for step in steps)
        assert [step.output for step in steps] == [{"x": 1}, "out"]

    asyncio.run(script())


def test_batches_give_frames_whose_checkpoints_move(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("E", "step", A, B))])
        async with stage.replaying():
            frames = [frame for batch in await stage.all(stage.flow.events("x").batches()) for frame in batch]
        assert [frame.type for frame in frames if frame.checkpoint is not None] == [
            "run_started",
            *["step_completed"] * 2,
        ]
        assert [frame.checkpoint.step_index for frame in frames if frame.checkpoint] == [0, 1, 2]

    asyncio.run(script())


def test_each_kind_of_call_counts_for_itself(side: Any) -> None:
    async def script() -> None:
        recorded = [
            run("E1", "execute", step("a", 1)),
            run("S1", "step", step("a", 2)),
            run("E2", "execute", step("a", 3)),
            run("X1", "execute", step("a", 4), slug="other"),
            run("S2", "step", step("a", 5)),
        ]
        stage = Stage(side, [session(*recorded)])
        async with stage.replaying():
            steps = [(await stage.all(stage.flow.steps()))[0].output for _ in range(2)]
            outputs = [(await stage.execute()).output for _ in range(2)]
            stage.flow = stage.client.flow("acme/it/other")
            assert (await stage.execute()).output == 4
        assert (steps, outputs) == ([2, 5], [1, 3])

    asyncio.run(script())


def test_one_call_too_many_is_a_miss_and_nothing_is_sent(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("E", "execute", A), run("S", "step", A))])
        async with stage.replaying():
            await stage.execute()
            with pytest.raises(ReplayMissError, match=r"has 1 run\(s\) of 'two-step' recorded by 'execute'"):
                await stage.execute()
            await stage.all(stage.flow.events())
            with pytest.raises(ReplayMissError, match="recorded by 'step'"):
                await stage.all(stage.flow.events())
        assert stage.sent == [READ]

    asyncio.run(script())


def test_what_is_left_is_told_at_the_end_but_does_not_hide_another_error(side: Any) -> None:
    async def script() -> None:
        recorded = [run("E1", "execute", A), run("E2", "execute", A), run("S1", "step", A)]
        stage = Stage(side, [session(*recorded)] * 2)

        async def too_little() -> None:
            async with stage.replaying():
                await stage.execute()
                stage.flow.events("never started")

        with pytest.raises(ReplayLeftoverError, match=r"2 unconsumed run\(s\), E2, S1"):
            await too_little()
        assert current_session_id() is None
        with pytest.raises(KeyError):
            async with stage.replaying():
                raise KeyError

    asyncio.run(script())


def test_a_started_stream_is_not_left_over(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("S", "step", A, B))])
        async with stage.replaying():
            stream = stage.flow.events()
            assert (next(stream) if stage.kind == "sync" else await anext(stream)).execution_id == "S"
            assert stream.checkpoint == Checkpoint("S", 0, {})

    asyncio.run(script())


def test_a_session_with_a_job_can_be_replayed(side: Any) -> None:
    async def script() -> None:
        recorded = [
            run("J", "job", snapshotsAvailable=False),
            run("E", "execute", A),
            run("?", "execute", A, slug=None),
        ]
        stage = Stage(side, [session(*recorded, "odd", None)])
        async with stage.replaying():
            await stage.execute()

    asyncio.run(script())


def test_a_failed_execute_is_an_error_with_what_was_recorded(side: Any) -> None:
    async def script(record: dict[str, Any]) -> FlowExecutionError:
        stage = Stage(side, [session(record)])
        async with stage.replaying():
            with pytest.raises(FlowExecutionError) as raised:
                await stage.execute()
        return raised.value

    error = asyncio.run(script(run("E", "execute", A, FAILED, errorAtStep="b", status="failed")))
    assert (error.message, error.code, error.execution_id) == ("no luck", "C", "E")
    error = asyncio.run(script(run("E", "execute", A, errorAtStep="b")))
    assert (error.message, error.code) == ("the recorded run failed at step 'b'", None)
    error = asyncio.run(script(run("E", "execute", A, FAILED, status="failed")))
    assert error.message == "no luck"


def test_a_failed_step_run_ends_as_it_did_live(side: Any) -> None:
    async def script(record: dict[str, Any]) -> list[Any]:
        stage = Stage(side, [session(record)])
        async with stage.replaying():
            return await stage.all(stage.flow.events())

    events = asyncio.run(script(run("S", "step", A, FAILED, errorAtStep="b", status="failed")))
    assert types(events) == ["run_started", "step_started", "step_completed", "step_started", "step_error"]
    assert (events[-1].step_id, events[-1].error) == ("b", {"code": "C", "message": "no luck"})
    assert events[-2].step_index == 1
    events = asyncio.run(script(run("S", "step", A, errorAtStep="b", status="failed")))
    assert types(events)[-2:] == ["step_started", "step_error"]
    assert (events[-1].step_id, events[-1].error) == ("b", None)


def test_of_repeated_attempts_the_last_counts_and_skipped_steps_do_not(side: Any) -> None:
    steps = [
        step("a", None, status="failed", errorSnapshot={"code": "C"}),
        step("a", 2, attempt=2),
        step("l", 3, loopIndex=0),
        step("l", 4, loopIndex=1),
        step("z", None, status="skipped"),
    ]

    async def script() -> None:
        stage = Stage(side, [session(run("E", "execute", *steps), run("S", "step", *steps))])
        async with stage.replaying():
            result = await stage.execute()
            outputs = [item.output for item in await stage.all(stage.flow.steps())]
        assert (result.output, result.block_count, outputs) == (4, 3, [2, 3, 4])

    asyncio.run(script())


def test_a_run_without_steps_has_no_result(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("E", "execute", flowId=None), run("S", "step"))])
        async with stage.replaying():
            result = await stage.execute()
            assert (result.output, result.block_count, result.flow_id) == (None, 1, "")
            assert types(await stage.all(stage.flow.events())) == ["run_started", "flow_completed"]

    asyncio.run(script())


def test_a_run_that_had_not_ended_is_no_success(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(*(run(f"{kind}1", kind, A, status="running") for kind in ("execute", "step")))])
        async with stage.replaying():
            with pytest.raises(ReplayMissError, match="execute1 had not ended"):
                await stage.execute()
            stream = stage.flow.events()
            with pytest.raises(ReplayMissError, match="step1 had not ended") as raised:
                await stage.all(stream)
        assert raised.value.checkpoint == Checkpoint("step1", 1, {"a": {"x": 1}})

    asyncio.run(script())


def test_a_checkpoint_continues_its_own_run(side: Any) -> None:
    async def script() -> None:
        recorded = [run("S1", "step", A, B), run("S2", "step", step("a", 1), step("b", 2))]
        stage = Stage(side, [session(*recorded)])
        checkpoint = Checkpoint("S2", 1, {"a": 1})
        async with stage.replaying():
            events = await stage.all(stage.flow.events(checkpoint=checkpoint))
            assert types(events) == ["step_started", "step_completed", "flow_completed"]
            assert (events[1].output, events[1].step_index) == (2, 1)
            assert [item.output for item in await stage.all(stage.flow.steps())] == [{"x": 1}, "out"]
            with pytest.raises(ReplayMissError, match="no run foreign"):
                await stage.all(stage.flow.events(checkpoint=Checkpoint("foreign", 1, {})))

    asyncio.run(script())


def test_a_run_that_was_left_goes_on_at_its_checkpoint(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("S1", "step", A, B), run("S2", "step", A, B))])
        async with stage.replaying():
            stream = stage.flow.steps("hi")
            first = await anext(stream) if hasattr(stream, "__anext__") else next(stream)
            checkpoint = stream.checkpoint
            assert (first.output, checkpoint.execution_id, checkpoint.step_index) == ({"x": 1}, "S1", 1)
            assert [item.output for item in await stage.all(stage.flow.steps(checkpoint=checkpoint))] == ["out"]
            assert [item.output for item in await stage.all(stage.flow.steps("hi"))] == [{"x": 1}, "out"]

    asyncio.run(script())


def test_a_call_that_names_another_session_is_answered_by_that_one(side: Any) -> None:
    async def script() -> None:
        scopes = session(*(run(f"E{n}", "execute", step("a", n)) for n in (1, 2, 3)))
        others = session(*(run(f"X{n}", "execute", step("a", -n)) for n in (1, 2)), session_id=OTHER)
        stage = Stage(side, [scopes, others])
        async with stage.replaying():
            named = await stage.execute(session_id=OTHER)
            again = await stage.execute(session_id=OTHER)
            own = await stage.execute(session_id=SESSION)
        assert (named.output, again.output, own.output) == (-1, -2, 3)
        assert (named.session_id, own.session_id) == (OTHER, SESSION)
        # One request for the other session, however often it is named; and what it holds besides is nobody's debt.
        assert stage.sent == [READ, ("GET", f"/seq/sessions/{OTHER}", None)]

    asyncio.run(script())


def test_what_recordings_cannot_answer_is_refused_unsent(side: Any) -> None:
    async def script() -> None:
        paused = {"status": "tool_calls_required", "executionId": "E", "pausedAtStep": "s", "iterationsUsed": 1}
        paused |= {"toolCallMessages": [], "toolCalls": [{"id": "c"}], "flowId": "F", "blockCount": 1}
        stage = Stage(side, [Exchange.json(paused), session(run("E", "execute", A))])
        result = await stage.execute("live")
        assert isinstance(result, PausedResult)
        async with stage.replaying():
            await stage.execute()
            with pytest.raises(ReplayMissError, match="belongs to no session"):
                await stage.execute(session_id="")
        assert len(stage.sent) == 2

        stage.transport.exchanges.append(session())
        async with stage.replaying():
            with pytest.raises(ReplayMissError, match="resuming a PausedResult cannot be played back"):
                await stage.resume(result)
        assert [method for method, _, _ in stage.sent] == ["POST", "GET", "GET"]

    asyncio.run(script())


def test_a_queued_run_is_refused_unsent(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("J", "job", A))])
        async with stage.replaying():
            with pytest.raises(ReplayMissError, match=r"execute_async\(\) cannot be played back"):
                await stage.execute_async("hi")
        assert stage.sent == [READ]

    asyncio.run(script())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ReplayInvalidSessionError),
        (401, AuthenticationError),
        (403, ReplayForbiddenError),
        (404, ReplaySessionNotFoundError),
        (410, ReplaySessionExpiredError),
        (500, FlowExecutionError),
    ],
)
def test_a_session_that_cannot_be_read_is_a_typed_error(side: Any, status: int, kind: type[NoukaiError]) -> None:
    async def script() -> None:
        refusal = Exchange.json({"detail": {"code": "CODE", "message": "why"}}, status, {"X-Request-ID": "R"})
        stage = Stage(side, [refusal])
        with pytest.raises(kind, match="why") as raised:
            async with stage.replaying():
                pass
        assert type(raised.value) is kind
        assert (raised.value.status_code, raised.value.code, raised.value.request_id) == (status, "CODE", "R")
        assert raised.value.response_body == {"detail": {"code": "CODE", "message": "why"}}
        assert current_session_id() is None
        assert stage.sent == [READ]

    asyncio.run(script())


def test_reading_the_session_is_repeated_as_any_get() -> None:
    conversation = read_session(SESSION, max_retries=1)
    first = next(conversation)
    assert isinstance(conversation.send(Reply(503, {}, b"", 0.0)), Sleep)
    again = conversation.send(None)
    assert isinstance(first, Send)
    assert isinstance(again, Send)
    assert (first.method, first.path, again.path, again.attempt) == ("GET", READ[1], READ[1], 2)


def test_a_run_recorded_without_outputs_is_told_at_the_start(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("E1", "execute", A), run("E2", "step", snapshotsAvailable=False))])
        with pytest.raises(ReplayNoSnapshotsError, match="E2 was recorded without outputs") as raised:
            async with stage.replaying():
                pass
        assert raised.value.execution_id == "E2"

    asyncio.run(script())


@pytest.mark.parametrize("side", ["async"], indirect=True)
def test_calls_at_the_same_time_warn_and_calls_in_turn_do_not(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(*(run(f"E{n}", kind, A) for n in range(4) for kind in ("execute", "step")))])
        async with stage.replaying():
            for _ in range(2):
                await asyncio.wait_for(stage.execute(), 5)
                await stage.all(stage.flow.events())
            with pytest.warns(UserWarning, match="'two-step' run at the same time"):
                await asyncio.gather(stage.execute(), stage.execute())
            with pytest.warns(UserWarning, match="'two-step' run at the same time"):
                await asyncio.gather(stage.all(stage.flow.events()), stage.all(stage.flow.steps()))

    asyncio.run(script())


def test_two_flows_of_one_name_and_truncated_values_are_told(side: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [session(run("E1", "execute", A), run("E2", "execute", step("a", "cu", truncated=True)))])
        async with stage.replaying():
            await stage.execute()
            stage.flow = stage.client.flow("acme/prod/two-step")
            with pytest.warns(UserWarning, match="share a name|truncated") as told:
                await stage.execute()
        assert len(told) == 2
        assert "acme/prod/two-step and acme/it/two-step share a name" in str(told[0].message)
        assert "truncated" in str(told[1].message)

    asyncio.run(script())


@pytest.mark.parametrize("body", [{}, {"executions": None}, {"executions": [{}, 1, {"triggerType": "step"}]}])
def test_odd_sessions_are_read_as_far_as_they_go(side: Any, body: Any) -> None:
    async def script() -> None:
        stage = Stage(side, [Exchange.json(body)])
        async with stage.replaying():
            pass

    asyncio.run(script())


def test_odd_steps_are_kept_as_they_came(side: Any) -> None:
    async def script() -> None:
        steps: list[Any] = [step("a", [1.5, None, "ü\n\n"]), "odd", step("b", durationMs="long")]
        stage = Stage(side, [session(run("S", "step", *steps, errorSnapshot=1))])
        async with stage.replaying():
            first, second = await stage.all(stage.flow.steps())
        assert (first.output, second.output, second.duration_ms) == ([1.5, None, "ü\n\n"], None, "long")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(script())
