"""`steps` and `events` through both clients: cursors, tool pauses, checkpoints, failures."""

from __future__ import annotations

import asyncio
import copy
import gzip
import pickle
from typing import Any

import httpx
import pytest

from noukai_sdk import (
    APIConnectionError,
    APITimeoutError,
    Checkpoint,
    PoolTimeoutError,
    RateLimitError,
    StepCompleted,
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
    ToolCallLimitError,
    ToolCallsRequired,
)
from noukai_sdk.testing import Exchange, ScriptedTransport

RESULT = {"role": "tool", "toolCallId": "c1", "content": "sunny"}
ALL = [
    "run_started",
    "step_started",
    "step_completed",
    "step_paused",
    "step_started",
    "step_completed",
    "flow_completed",
]


def test_two_steps_in_two_calls(side: Any, two_steps: Any) -> None:
    played = side.play(two_steps, "hi", session_id="S")
    assert played.error is None
    assert played.types == ALL
    assert [event.step_index for event in played.items if hasattr(event, "step_index")] == [0, 0, 0, 1, 1]
    assert played.transport.requests[0].content == (
        b'{"stepIndex":0,"accumulatedOutputs":{},"message":"hi","parameters":{},"inputOverrides":{},'
        b'"runRemaining":false,"iterationsUsed":0,"trace":false}'
    )
    assert played.transport.requests[1].content == (
        b'{"executionId":"E","stepIndex":1,"accumulatedOutputs":{"step-a":{"text":"a"}},"parameters":{},'
        b'"inputOverrides":{},"runRemaining":false,"iterationsUsed":0,"trace":false}'
    )
    assert [request.headers["X-Session-Id"] for request in played.transport.requests] == ["S", "S"]
    assert {request.url.path for request in played.transport.requests} == {"/api/v1/seq/acme/it/two-step/step"}
    assert all(exchange.drained and exchange.closed for exchange in two_steps)


def test_steps_are_the_completed_ones(side: Any, two_steps: Any) -> None:
    played = side.play(two_steps, "hi", method="steps")
    assert all(isinstance(item, StepCompleted) for item in played.items)
    assert [item.output for item in played.items] == [{"text": "a"}, {"text": "b"}]


def test_one_response(side: Any, one_response: Any) -> None:
    played = side.play(one_response, "hi", run_remaining=True)
    assert played.types == [name for name in ALL if name != "step_paused"]
    assert played.transport.bodies[0]["runRemaining"] is True
    assert played.checkpoint == Checkpoint("E", 2, {"step-a": {"text": "a"}, "step-b": {"text": "b"}})


def test_batches_hold_what_one_read_completed(side: Any, frame: Any) -> None:
    parts = [frame("a"), frame("step_output", stepId="x"), frame("flow_completed")]
    whole = b"".join(parts)
    played = side.play([Exchange(chunks=[whole[:20], whole[20:]])], batches=True)
    assert played.types == ["a", "step_output", "flow_completed"]
    assert side.play([Exchange(chunks=[whole])]).types == ["step_output", "flow_completed"]


def test_a_compressed_stream(side: Any, frame: Any) -> None:
    body = gzip.compress(frame("step_output", stepId="x") + frame("flow_completed"))
    played = side.play([Exchange(headers={"Content-Encoding": "gzip"}, chunks=[body[:15], body[15:]])])
    assert played.types == ["step_output", "flow_completed"]


def test_typed_checkpoints_are_those_of_the_event_taken(one_response: Any) -> None:
    from noukai_sdk import Noukai

    client = Noukai("nk_x", env="dev", http_client=httpx.Client(transport=ScriptedTransport(one_response)))
    stream = client.flow("a/b/c").events()
    assert stream.checkpoint == Checkpoint()
    seen = {event.event_type: stream.checkpoint.step_index for event in stream if stream.checkpoint.step_index < 2}
    assert seen == {"run_started": 0, "step_started": 1, "step_completed": 1}


@pytest.mark.parametrize("outcome", ["result", "error"])
def test_the_end_of_a_flow(side: Any, frame: Any, outcome: str) -> None:
    ends = {"result": frame("flow_completed", result=1), "error": frame("step_error", stepId="a", error="why")}
    played = side.play([Exchange(chunks=[ends[outcome], frame("step_output")])])
    assert played.error is None
    assert len(played.items) == 1
    assert len(side.play([Exchange(chunks=[ends[outcome]])], method="steps").items) == (outcome == "error")


def test_tools_answered_by_a_handler(side: Any, tool_pause: Any, turns: Any) -> None:
    calls: list[Any] = []

    def answer(tool_calls: Any) -> Any:
        calls.append(tool_calls)
        return [RESULT]

    kwargs = {"parameters": {"p": 1}, "tools": [{"type": "function"}], "tool_handler": answer}
    played = side.play(tool_pause, "weather?", **kwargs)
    assert played.error is None
    assert played.types == ["run_started", "step_started", "step_completed", "flow_completed"]
    assert [call["id"] for call in calls[0]] == ["c1"]
    assert played.transport.bodies[1] == {
        "executionId": "E",
        "stepIndex": 0,
        "accumulatedOutputs": {},
        "parameters": {},
        "inputOverrides": {},
        "runRemaining": False,
        "tools": [{"type": "function"}],
        "toolCallMessages": [*turns, RESULT],
        "iterationsUsed": 1,
        "trace": False,
    }
    batches = side.play([Exchange(chunks=e.chunks) for e in tool_pause], batches=True, tool_handler=answer)
    assert "step_paused_for_tool_calls" in batches.types


def test_an_async_handler_of_the_async_client(tool_pause: Any, side: Any) -> None:
    async def answer(_: Any) -> Any:
        return [RESULT]

    if side.kind == "sync":
        with pytest.raises(TypeError, match="sync"):
            side.play(tool_pause, tool_handler=answer)
    else:
        assert side.play(tool_pause, tool_handler=answer).types[-1] == "flow_completed"


@pytest.mark.parametrize("method", ["steps", "events"])
def test_tools_without_an_answer_end_the_stream(side: Any, tool_pause: Any, method: str) -> None:
    played = side.play(tool_pause, method=method)
    assert played.error is None
    assert isinstance(played.items[-1], ToolCallsRequired)
    assert len(played.transport.requests) == 1
    assert played.checkpoint == Checkpoint("E", 0, {})


def test_tools_answered_later(side: Any, tool_pause: Any, turns: Any) -> None:
    first = side.play(tool_pause[:1], "weather?", parameters={"p": 1})
    event = first.items[-1]
    played = side.play(
        tool_pause[1:],
        checkpoint=first.checkpoint,
        tool_call_messages=[*event.tool_call_messages, RESULT],
        iterations_used=event.iterations_used,
    )
    assert played.types == ["step_completed", "flow_completed"]
    assert played.transport.bodies[0] == {
        "executionId": "E",
        "stepIndex": 0,
        "accumulatedOutputs": {},
        "parameters": {},
        "inputOverrides": {},
        "runRemaining": False,
        "toolCallMessages": [*turns, RESULT],
        "iterationsUsed": 1,
        "trace": False,
    }


def test_tools_answered_by_hand(tool_pause: Any, side: Any) -> None:
    transport = ScriptedTransport(tool_pause)
    flow = side.client(transport).flow("a/b/c")
    if side.kind == "sync":
        event = [*flow.events()][-1]
        with pytest.raises(RuntimeError, match="AsyncFlow"):
            asyncio.run(event.resume([RESULT]))
        return

    async def main() -> list[str]:
        types = []
        async for event in flow.events("weather?"):
            types.append(event.event_type)
            if isinstance(event, ToolCallsRequired):
                await event.resume(tool_results=[RESULT])
        return types

    assert asyncio.run(main())[-2:] == ["step_completed", "flow_completed"]
    assert transport.bodies[1]["toolCallMessages"][-1] == RESULT


def test_a_pending_tool_event_can_be_copied_and_pickled(tool_pause: Any, side: Any) -> None:
    flow = side.client(ScriptedTransport(tool_pause)).flow("a/b/c")

    async def main() -> list[str]:
        types = []
        async for event in flow.events("weather?"):
            types.append(event.event_type)
            if isinstance(event, ToolCallsRequired):
                elsewhere = pickle.loads(pickle.dumps(event))
                assert (elsewhere.model_dump(), elsewhere.raw) == (event.model_dump(), event.raw)
                with pytest.raises(RuntimeError, match="does not belong to a stream"):
                    await elsewhere.resume([RESULT])
                await copy.deepcopy(event).resume([RESULT])
        return types

    if side.kind == "async":
        assert asyncio.run(main())[-1] == "flow_completed"
    else:
        event = [*flow.events()][-1]
        assert pickle.loads(pickle.dumps(event)) == event == copy.deepcopy(event)


def test_the_limit_of_tool_rounds(side: Any, tool_pause: Any) -> None:
    pauses = [Exchange(chunks=tool_pause[0].chunks) for _ in range(2)]
    played = side.play(pauses, tool_handler=lambda _: [RESULT], max_tool_rounds=1)
    assert isinstance(played.error, ToolCallLimitError)
    assert played.error.execution_id == "E"
    assert len(played.transport.requests) == 2


def test_what_a_handler_raises_comes_out_as_it_is(side: Any, tool_pause: Any) -> None:
    inner = APIConnectionError("of another flow")

    def fail(_: Any) -> Any:
        raise inner

    played = side.play(tool_pause, tool_handler=fail)
    assert played.error is inner
    assert inner.checkpoint is None


def test_a_run_continues_at_its_checkpoint(side: Any, two_steps: Any) -> None:
    cut = Exchange(chunks=[*two_steps[0].chunks[:3], httpx.ReadError("reset")])
    first = side.play([cut], "hi", run_remaining=True)
    assert first.types == ALL[:3]
    error = first.error
    assert type(error) is StreamInterruptedError
    assert (error.execution_id, error.sent) == ("E", True)
    assert error.checkpoint == first.checkpoint == Checkpoint("E", 1, {"step-a": {"text": "a"}})
    second = side.play(
        two_steps[1:], "hi", parameters={"p": 1}, trace=True, run_remaining=True, checkpoint=error.checkpoint
    )
    assert second.types == ALL[4:]
    assert [event.step_index for event in second.items[:2]] == [1, 1]
    assert second.transport.bodies[0] == {
        "executionId": "E",
        "stepIndex": 1,
        "accumulatedOutputs": {"step-a": {"text": "a"}},
        "parameters": {},
        "inputOverrides": {},
        "runRemaining": True,
        "iterationsUsed": 0,
        "trace": True,
    }


def test_checkpoints_that_cannot_be_used(side: Any) -> None:
    with pytest.raises(ValueError, match="execution_id"):
        side.play([], checkpoint=Checkpoint(None, 1, {}))
    with pytest.raises(ValueError, match="checkpoint"):
        side.play([], tool_call_messages=[])


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ReadError("reset"), StreamInterruptedError),
        (httpx.RemoteProtocolError("peer closed"), StreamInterruptedError),
        (httpx.ReadTimeout("silence"), StreamTimeoutError),
        (ConnectionResetError("reset"), StreamInterruptedError),
        (None, StreamInterruptedError),
    ],
)
def test_streams_that_break_off(side: Any, frame: Any, failure: Any, kind: type) -> None:
    before = frame("run_started", executionId="E") + frame("step_output", stepId="a")
    exchange = Exchange(chunks=[before] if failure is None else [before, failure])
    played = side.play([exchange], options={"max_retries": 3})
    assert played.types == ["run_started", "step_output"]
    assert type(played.error) is kind
    assert played.error.checkpoint == Checkpoint("E", 0, {})
    assert len(played.transport.requests) == 1
    assert exchange.closed


@pytest.mark.parametrize(
    ("failure", "kind", "sent"),
    [
        (httpx.ConnectError("refused"), APIConnectionError, False),
        (httpx.ConnectTimeout("slow"), APITimeoutError, False),
        (httpx.PoolTimeout("busy"), PoolTimeoutError, False),
        (httpx.ReadTimeout("slow"), APITimeoutError, True),
        (httpx.WriteError("reset"), APIConnectionError, True),
        (httpx.RemoteProtocolError("gone"), APIConnectionError, True),
    ],
)
def test_openings_that_fail(side: Any, two_steps: Any, failure: Exception, kind: type, sent: bool) -> None:
    played = side.play([two_steps[0], Exchange(error=failure)])
    assert type(played.error) is kind
    assert played.error.sent is sent
    assert str(played.error)
    assert played.error.__cause__ is failure
    assert played.error.checkpoint == Checkpoint("E", 1, {"step-a": {"text": "a"}})
    with pytest.raises(kind) as caught:
        side.execute([Exchange(error=failure)])
    assert caught.value.sent is sent


def test_a_refusal_in_the_middle_carries_the_checkpoint(side: Any, two_steps: Any) -> None:
    limited = Exchange.json({"detail": {"code": "RATE_LIMIT"}}, 429, {"Retry-After": "9"})
    error = side.play([two_steps[0], limited]).error
    assert isinstance(error, RateLimitError)
    assert (error.retry_after, error.execution_id) == (9.0, "E")
    assert error.checkpoint.step_index == 1


def test_frames_before_a_broken_one_are_delivered(side: Any, frame: Any) -> None:
    body = frame("step_output", stepId="a") + b"event: step_completed\ndata: {broken\n\n"
    exchange = Exchange(chunks=[body])
    played = side.play([exchange], batches=True)
    assert played.types == ["step_output"]
    assert isinstance(played.error, StreamProtocolError)
    assert exchange.closed


def test_no_odd_field_makes_a_loop_of_requests(side: Any, frame: Any) -> None:
    completed = frame("step_completed", stepId="a", costUsd=0.1, durationMs=1.5, tokens="?", stepIndex=None)
    exchanges = [
        Exchange(chunks=[completed + frame("step_paused", stepIndex=None)]),
        Exchange(chunks=[frame("flow_completed")]),
    ]
    played = side.play(exchanges)
    assert played.error is None
    assert [body["stepIndex"] for body in played.transport.bodies] == [0, 1]
    stuck = side.play([Exchange(chunks=[frame("step_paused")])])
    assert isinstance(stuck.error, StreamProtocolError)
    assert len(stuck.transport.requests) == 1


def test_no_request_before_the_first_item_and_none_after_the_end(side: Any, two_steps: Any) -> None:
    transport = ScriptedTransport(two_steps)
    stream = side.client(transport).flow("a/b/c").events()
    assert transport.requests == []
    if side.kind == "sync":
        list(stream)
        assert next(stream, None) is None
    else:

        async def drain() -> None:
            async for _ in stream:
                pass
            assert await anext(stream, None) is None

        asyncio.run(drain())
    assert len(transport.requests) == 2


def test_after_an_error_the_stream_is_over(side: Any, frame: Any) -> None:
    stream = side.client(ScriptedTransport([Exchange(error=httpx.ConnectError("refused"))])).flow("a/b/c").events()
    if side.kind == "sync":
        with pytest.raises(APIConnectionError):
            next(stream)
        assert next(stream, None) is None
    else:

        async def twice() -> None:
            with pytest.raises(APIConnectionError):
                await anext(stream)
            assert await anext(stream, None) is None

        asyncio.run(twice())


def test_closing(side: Any, two_steps: Any) -> None:
    stream = side.client(ScriptedTransport(two_steps)).flow("a/b/c").events()
    if side.kind == "sync":
        with stream:
            next(stream)
        stream.close()
        assert next(stream, None) is None
    else:

        async def close() -> None:
            async with stream:
                await anext(stream)
            await stream.aclose()
            assert await anext(stream, None) is None

        asyncio.run(close())
    assert two_steps[0].closed
    assert stream.checkpoint == Checkpoint("E", 0, {})
    assert stream.execution_id == "E"


def test_a_dropped_sync_stream_frees_its_connection(two_steps: Any) -> None:
    from noukai_sdk import Noukai

    client = Noukai("nk_x", env="dev", http_client=httpx.Client(transport=ScriptedTransport(two_steps)))
    for _ in client.flow("a/b/c").events():
        break
    assert two_steps[0].closed


def test_no_time_at_all(side: Any, two_steps: Any) -> None:
    played = side.play(two_steps, timeout=0)
    assert type(played.error) is StreamTimeoutError
    assert played.error.sent is False
    assert played.transport.requests == []
    with pytest.raises(ValueError, match="from 0 on"):
        side.play([], timeout=-1)
