"""The scripted transport plays exactly what it was told, to both clients."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, get_args

import pytest

from noukai_sdk import (
    APIConnectionError,
    APITimeoutError,
    NoukaiError,
    PoolTimeoutError,
    RateLimitError,
    StreamInterruptedError,
    StreamTimeoutError,
)
from noukai_sdk.testing import Exchange, FailureKind, ScriptedTransport, Stall, failure, sse

FLOW = "acme/it/two-step"
FRAMES = (
    sse("run_started", executionId="E"),
    sse("step_completed", stepId="ä", output="é"),
    sse("flow_completed", result=1),
)


FAILURES: list[tuple[FailureKind, type[NoukaiError], bool]] = [
    ("refused", APIConnectionError, False),
    ("connect_timeout", APITimeoutError, False),
    ("pool_timeout", PoolTimeoutError, False),
    ("write_timeout", APITimeoutError, True),
    ("read_timeout", APITimeoutError, True),
    ("reset_on_write", APIConnectionError, True),
    ("reset", APIConnectionError, True),
    ("cut", APIConnectionError, True),
]


class Side:
    """One of the two clients."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def execute(self, script: ScriptedTransport, **options: Any) -> Any:
        if self.kind == "sync":
            with script.client(**options) as client:
                return client.flow(FLOW).execute("hi")

        async def main() -> Any:
            async with script.async_client(**options) as client:
                return await client.flow(FLOW).execute("hi")

        return asyncio.run(main())

    def events(self, script: ScriptedTransport, **options: Any) -> tuple[list[str], NoukaiError | None]:
        """The types that came, and the error that ended them."""
        types: list[str] = []

        async def main() -> None:
            async with script.async_client(**options) as client:
                async for event in client.flow(FLOW).events("hi"):
                    types.append(event.event_type)  # noqa: PERF401 -- what came before an error counts

        try:
            if self.kind == "async":
                asyncio.run(main())
            else:
                with script.client(**options) as client:
                    types.extend(event.event_type for event in client.flow(FLOW).events("hi"))
        except NoukaiError as error:
            return types, error
        return types, None


@pytest.fixture(params=["sync", "async"])
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


def test_a_result_is_played(side: Side) -> None:
    script = ScriptedTransport([Exchange.completed({"a": 1}, executionId="E7")])
    result = side.execute(script)
    assert (result.output, result.execution_id) == ({"a": 1}, "E7")
    assert script.bodies[0]["message"] == "hi"
    script.assert_done()


def test_a_refusal_is_played(side: Side) -> None:
    script = ScriptedTransport([Exchange.refusal(429, "RATE_LIMIT", "Slowly.", headers={"Retry-After": "7"})])
    with pytest.raises(RateLimitError, match="Slowly") as caught:
        side.execute(script)
    assert (caught.value.code, caught.value.retry_after) == ("RATE_LIMIT", 7)


def test_nothing_is_retried_unless_asked_for(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [Exchange.refusal(429, "RATE_LIMIT", headers={"Retry-After": "0"})] * 2
    script = ScriptedTransport(refusals)
    with pytest.raises(RateLimitError):
        side.execute(script)
    assert len(script.remaining) == 1

    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    script = ScriptedTransport([refusals[0], Exchange.completed(1)])
    assert side.execute(script, max_retries=1).output == 1
    script.assert_done()


@pytest.mark.parametrize(("kind", "expected", "sent"), FAILURES)
def test_a_failure_before_the_head(side: Side, kind: FailureKind, expected: type[NoukaiError], sent: bool) -> None:
    script = ScriptedTransport([Exchange.failing(kind)])
    types, error = side.events(script)
    assert types == []
    assert type(error) is expected
    assert error.sent is sent
    script.assert_done()


def test_every_kind_of_failure_is_covered_and_no_other_is_known() -> None:
    assert [kind for kind, _, _ in FAILURES] == list(get_args(FailureKind))
    with pytest.raises(ValueError, match="use one of refused, connect_timeout"):
        failure("gone")  # type: ignore[arg-type]


def test_a_body_fails_at_any_byte(side: Side) -> None:
    exchange = Exchange.stream(*FRAMES)
    body = b"".join(FRAMES)
    ends = [len(FRAMES[0]), len(FRAMES[0] + FRAMES[1]), len(body)]
    for byte in range(0, len(body), 1 if side.kind == "sync" else 7):
        script = ScriptedTransport([exchange.cut_at(byte)])
        types, error = side.events(script)
        assert len(types) == sum(end <= byte for end in ends)
        assert type(error) is StreamInterruptedError
    whole = exchange.cut_at(len(body), by="read_timeout")
    assert side.events(ScriptedTransport([whole])) == (["run_started", "step_completed", "flow_completed"], None)


def test_a_body_cannot_be_cut_where_it_is_not() -> None:
    with pytest.raises(ValueError, match="the body has 3 bytes; it cannot be cut at 4"):
        Exchange(chunks=[b"ab", b"c"]).cut_at(4)
    assert [str(chunk) for chunk in Exchange(chunks=[b"ab", b"c"]).cut_at(2).chunks] == [
        "b'ab'",
        str(failure("cut")),
    ]


def test_chunks_come_as_they_were_told(side: Side) -> None:
    pieces = Exchange.stream(*FRAMES).in_pieces(1)
    assert {len(chunk) for chunk in pieces.chunks if isinstance(chunk, bytes)} == {1}
    assert side.events(ScriptedTransport([pieces]))[0] == ["run_started", "step_completed", "flow_completed"]
    assert pieces.drained
    assert pieces.closed


def test_a_stall_lasts_as_long_as_the_client_is_patient(side: Side) -> None:
    exchange = Exchange.stream(FRAMES[0], Stall(), *FRAMES[1:])
    types, error = side.events(ScriptedTransport([exchange]), timeout=0.05)
    assert types == ["run_started"]
    assert type(error) is StreamTimeoutError
    assert not exchange.drained


def test_a_stall_ends_when_it_is_released(side: Side) -> None:
    stall = Stall()
    script = ScriptedTransport([Exchange.stream(FRAMES[0], stall, *FRAMES[1:])])
    seen: list[tuple[list[str], NoukaiError | None]] = []
    reader = threading.Thread(target=lambda: seen.append(side.events(script)))
    reader.start()
    stall.wait_until_reached()
    assert seen == []
    stall.release()
    reader.join(10)
    assert seen == [(["run_started", "step_completed", "flow_completed"], None)]
    assert side.events(ScriptedTransport([Exchange.stream(stall, *FRAMES)]))[1] is None


def test_a_stall_that_nobody_reaches_says_so() -> None:
    assert not Stall().reached
    with pytest.raises(AssertionError, match="no client came to the stall within 0 s"):
        Stall().wait_until_reached(0)


def test_a_held_async_stream_can_be_cancelled() -> None:
    async def main() -> None:
        stall = Stall()
        script = ScriptedTransport([Exchange.stream(FRAMES[0], stall)])
        async with script.async_client() as client:
            stream = client.flow(FLOW).events()
            await anext(stream)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(stall.wait_until_reached)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert script.exchanges[0].closed
        stall.release()

    asyncio.run(main())


def test_a_request_beyond_the_script_is_told_with_what_came_before(side: Side) -> None:
    script = ScriptedTransport([Exchange.stream(sse("step_completed", stepId="a"), sse("step_paused"))])
    with pytest.raises(AssertionError) as caught:
        side.events(script)
    text = str(caught.value)
    assert text.startswith("request 2 is not in the script of 1 exchanges: POST /api/v1/seq/acme/it/two-step/step {")
    assert "before that:\n  1. POST /api/v1/seq/acme/it/two-step/step {" in text
    # An application may have swallowed it.
    with pytest.raises(AssertionError, match="request 2 is not in the script"):
        script.assert_done()


def test_what_was_not_asked_for_is_told(side: Side) -> None:
    script = ScriptedTransport([Exchange.completed(1), Exchange.refusal(404, "X"), Exchange.failing("cut")])
    side.execute(script)
    with pytest.raises(AssertionError) as caught:
        script.assert_done()
    assert str(caught.value).startswith(
        "2 of 3 exchanges were not asked for; the next is HTTP 404\nbefore that:\n  1. "
    )
    assert str(script.remaining[-1]) == "RemoteProtocolError"
    with pytest.raises(AssertionError, match=r"^1 of 1 exchanges were not asked for; the next is HTTP 200$"):
        ScriptedTransport([Exchange()]).assert_done()


def test_one_script_serves_many_threads() -> None:
    script = ScriptedTransport([Exchange.completed(number) for number in range(64)])
    outputs: list[int] = []
    with script.client() as client:
        threads = [
            threading.Thread(target=lambda: outputs.append(client.flow(FLOW).execute().output))  # type: ignore[union-attr]
            for _ in range(64)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(outputs) == list(range(64))
    script.assert_done()


def test_frames_are_written_as_the_standard_wants_them() -> None:
    assert sse("a", x="é\n") == b'event: a\ndata: {"x": "\\u00e9\\n"}\n\n'
    assert sse("a") == b"event: a\ndata: {}\n\n"
    assert sse("a", [1]) == b"event: a\ndata: [1]\n\n"
    assert sse(None, {"eventType": "b"}) == b'data: {"eventType": "b"}\n\n'
    assert sse("a", "{not\njson") == b"event: a\ndata: {not\ndata: json\n\n"
    with pytest.raises(TypeError, match="not both"):
        sse("a", {}, x=1)


@pytest.mark.parametrize(
    ("mistake", "error", "remedy"),
    [
        (lambda: Exchange.stream("event: x"), TypeError, "text must be encoded"),  # type: ignore[arg-type]
        (lambda: Exchange(chunks=b"bytes"), TypeError, "a chunk is bytes"),  # type: ignore[arg-type]
        (lambda: ScriptedTransport(Exchange.completed(1)), TypeError, "a list of exchanges"),  # type: ignore[arg-type]
        (lambda: ScriptedTransport([{"status": "completed"}]), TypeError, "Exchange.json"),  # type: ignore[list-item]
        (lambda: Exchange.stream(b"x").in_pieces(0), ValueError, "use 1 or more"),
        (lambda: Exchange.stream(b"x").cut_at(-1), ValueError, "count from its beginning"),
    ],
)
def test_mistakes_in_a_script_are_told_when_it_is_written(mistake: Any, error: type[Exception], remedy: str) -> None:
    with pytest.raises(error, match=remedy):
        mistake()
