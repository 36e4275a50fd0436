"""Queued runs: handing in, polling, waiting; time is played by hand."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import Any

import httpx
import pytest

from noukai_sdk import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AsyncJob,
    ClientClosedError,
    FlowExecutionError,
    FlowNotFoundError,
    Job,
    JobStatus,
    NoukaiError,
    PermissionDeniedError,
    PoolTimeoutError,
)
from noukai_sdk._models.requests import Callback, ExecuteRequest
from noukai_sdk._protocol.effects import Clock, Effect, Reply, Send, Sleep
from noukai_sdk._protocol.jobs import Polls, Submission
from noukai_sdk._protocol.session import NO_SESSION
from noukai_sdk.testing import Exchange

ACCEPTED = {"executionId": "E/1", "status": "started", "flowId": "F", "blockCount": 2, "novel": 1}
UNKNOWN = Exchange.json({"detail": {"code": "JOB_NOT_FOUND", "message": "no such job"}}, 404)


def reply(body: Any = None, status: int = 200, **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, names, json.dumps(body).encode(), 0.0)


def told(status: str, **more: Any) -> Reply:
    return reply({"executionId": "E", "status": status, **more})


class World:
    """A clock, and a server that takes `seconds` for each answer; the last answer is repeated."""

    def __init__(self, answers: Sequence[Reply | NoukaiError], seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.now = 1000.0
        self.sends: list[tuple[float, Send]] = []
        self.sleeps: list[float] = []

    def play(self, conversation: Generator[Effect, Any, Any]) -> Any:
        outcome: Any = None
        try:
            while True:
                effect = conversation.throw(outcome) if isinstance(outcome, Exception) else conversation.send(outcome)
                outcome = self._perform(effect)
        except StopIteration as stop:
            return stop.value

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Clock):
            return self.now
        if isinstance(effect, Sleep):
            self.sleeps.append(effect.seconds)
            self.now += effect.seconds
            return None
        assert isinstance(effect, Send)
        self.sends.append((self.now - 1000.0, effect))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        limit = effect.timeout or 0.0
        if self.seconds > limit:
            self.now += limit
            return APITimeoutError("no answer within the timeout")
        self.now += self.seconds
        return answer

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.sends]

    @property
    def timeouts(self) -> list[float | None]:
        return [send.timeout for _, send in self.sends]


def polls(submitted_at: float | None = None, timeout: float = 300.0, max_retries: int = 3) -> Polls:
    return Polls("E", "/jobs/E", timeout, max_retries, submitted_at)


def wait(world: World, timeout: float = 300.0, interval: float = 2.0, **options: Any) -> JobStatus:
    status = world.play(polls(**options).until_ended(timeout, interval))
    assert isinstance(status, JobStatus)
    return status


def test_waiting_polls_first_and_then_at_the_interval() -> None:
    world = World([told("pending"), told("running"), told("completed", result={"x": 1})])
    status = wait(world)
    assert (status.status, status.result, status.output, status.is_final) == ("completed", {"x": 1}, {"x": 1}, True)
    assert world.times == [0.0, 2.0, 4.0]
    assert {(send.method, send.path, send.body) for _, send in world.sends} == {("GET", "/jobs/E", None)}


@pytest.mark.parametrize("word", ["completed", "failed", "cancelled", "canceled", "aborted", "expired", "timed_out"])
def test_words_that_end_a_wait(word: str) -> None:
    world = World([told(word, error={"code": "C"})])
    status = wait(world)
    assert (status.status, status.error, world.sleeps) == (word, {"code": "C"}, [])


@pytest.mark.parametrize("word", ["pending", "running", "queued", "started", "thinking"])
def test_words_that_do_not_end_a_wait(word: str) -> None:
    world = World([told(word), told("completed")])
    assert wait(world).status == "completed"
    assert len(world.sends) == 2


def test_the_deadline_is_kept_and_has_a_last_poll() -> None:
    world = World([told("running")])
    with pytest.raises(APITimeoutError, match=r"within 5 s \(it was 'running'\).*flow\.job\('E'\)\.wait") as caught:
        wait(world, 5.0)
    assert world.sleeps == [2.0, 2.0, 1.0]
    assert world.times == [0.0, 2.0, 4.0, 5.0]
    assert (world.now, caught.value.execution_id, caught.value.code) == (1005.0, "E", "DEADLINE_CLIENT")


def test_a_job_that_ends_in_the_last_moment_is_returned() -> None:
    world = World([told("running"), told("running"), told("completed")])
    assert wait(world, 3.0).status == "completed"
    assert world.times == [0.0, 2.0, 3.0]


def test_each_poll_is_given_what_is_left() -> None:
    world = World([told("running")], seconds=0.5)
    with pytest.raises(APITimeoutError):
        wait(world, 6.0)
    assert world.timeouts == [6.0, 3.5, 1.0, 2.0]  # the last one, at the deadline, has 2 s of its own
    assert world.times == [0.0, 2.5, 5.0, 6.0]


@pytest.mark.parametrize(("timeout", "end"), [(0.5, 1000.5), (7.0, 1007.0)])
def test_a_server_that_hangs_cannot_hold_a_wait_past_its_deadline(timeout: float, end: float) -> None:
    world = World([told("completed")], seconds=1e9)
    with pytest.raises(APITimeoutError, match="nothing was heard"):
        wait(world, timeout)
    assert world.now == end


def test_a_poll_that_hangs_is_given_up_in_favour_of_another() -> None:
    world = World([told("running")], seconds=1e9)
    with pytest.raises(APITimeoutError) as caught:
        wait(world, 100.0)
    assert world.timeouts == [30.0, 30.0, 30.0, pytest.approx(4.0)]
    assert isinstance(caught.value.__cause__, APITimeoutError)
    world = World([told("running")], seconds=1e9)
    with pytest.raises(APITimeoutError):
        world.play(polls(timeout=3.0).until_ended(8.0, 2.0))
    assert world.timeouts == [3.0, 3.0]


def test_no_time_is_one_poll() -> None:
    world = World([told("running")])
    with pytest.raises(APITimeoutError, match="within 0 s"):
        wait(world, 0.0)
    assert (world.times, world.sleeps, world.timeouts) == ([0.0], [], [2.0])
    assert wait(World([told("completed")]), 0.0).status == "completed"


@pytest.mark.parametrize(
    "failure",
    [
        APIConnectionError("reset"),
        APIConnectionError("refused", sent=False),
        APITimeoutError("slow"),
        PoolTimeoutError("busy", sent=False),
        reply({}, 408),
        reply({}, 429),
        reply({}, 500),
        reply({}, 502),
        reply({}, 503),
        reply({}, 504),
    ],
)
def test_failures_that_may_pass_are_waited_out(failure: Reply | NoukaiError) -> None:
    world = World([told("running"), failure, failure, told("completed")])
    assert wait(world).status == "completed"
    assert world.sleeps == [2.0, 2.0, 2.0]
    world = World([failure])
    with pytest.raises(APITimeoutError) as caught:
        wait(world, 4.0)
    assert isinstance(caught.value.__cause__, NoukaiError)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (reply({}, 400), FlowExecutionError),
        (reply({}, 401), NoukaiError),
        (reply({}, 403), PermissionDeniedError),
        (reply({}, 404), FlowNotFoundError),
        (reply({}, 307), APIResponseError),
        (reply([]), APIResponseError),
        (reply({"executionId": "E"}), APIResponseError),
        (ClientClosedError("closed", sent=False), ClientClosedError),
    ],
)
def test_failures_that_will_not_pass_end_a_wait(failure: Reply | NoukaiError, kind: type[NoukaiError]) -> None:
    world = World([told("running"), failure])
    with pytest.raises(kind):
        wait(world)
    assert len(world.sends) == 2


def test_the_server_s_wish_is_a_floor_for_the_next_poll() -> None:
    world = World([reply({}, 429, retry_after="7"), reply({}, 503, retry_after="1"), told("completed")])
    assert wait(world).status == "completed"
    assert world.sleeps == [7.0, 2.0]


def test_a_wish_beyond_the_deadline_leaves_no_poll() -> None:
    world = World([reply({}, 429, retry_after="60"), told("completed")])
    with pytest.raises(APITimeoutError):
        wait(world, 5.0)
    assert (world.sleeps, len(world.sends)) == ([5.0], 1)


def test_failures_do_not_make_a_tight_loop_of_an_interval_of_zero() -> None:
    world = World([APIConnectionError("refused", sent=False)])
    with pytest.raises(APITimeoutError):
        wait(world, 5.0, 0.0)
    assert len(world.sends) == 11


def test_a_job_just_handed_in_may_be_unknown_for_five_seconds() -> None:
    world = World([reply({}, 404), reply({}, 404), told("completed")])
    assert wait(world, submitted_at=1000.0).status == "completed"
    world = World([reply({}, 404)])
    with pytest.raises(FlowNotFoundError):
        wait(world, submitted_at=1000.0)
    assert world.times == [0.0, 2.0, 4.0, 6.0]
    world = World([reply({}, 404)])
    with pytest.raises(FlowNotFoundError):
        wait(world)
    assert len(world.sends) == 1


def test_single_polls() -> None:
    world = World([reply({}, 404)])
    status = world.play(polls(submitted_at=995.1).once(None))
    assert (status.execution_id, status.status, status.is_final) == ("E", "pending", False)
    with pytest.raises(FlowNotFoundError):
        world.play(polls(submitted_at=995.0).once(None))
    assert world.timeouts == [None, None]


def test_single_polls_are_repeated_as_any_get() -> None:
    world = World([APIConnectionError("reset"), reply({}, 429), reply({}, 500), told("running")])
    world.seconds = 0.0
    assert world.play(polls().once(9.0)).status == "running"
    assert world.timeouts == [9.0] * 4
    world = World([APITimeoutError("slow")])
    with pytest.raises(APITimeoutError, match="slow"):
        world.play(polls().once(9.0))
    assert len(world.sends) == 1


def test_a_submission_is_not_repeated_after_it_may_have_been_taken() -> None:
    request = ExecuteRequest("q", None, {}, None, None, None, None, False)
    for failure, sent in ((reply({}, 500), 1), (APIConnectionError("reset"), 1), (reply({}, 429), 2)):
        world = World([failure, reply(ACCEPTED)])
        submission = Submission(request, Callback(), "/jobs", NO_SESSION, None, max_retries=1)
        if sent == 1:
            with pytest.raises(NoukaiError):
                world.play(submission.run())
        else:
            accepted, at = world.play(submission.run())
            assert (accepted.execution_id, at) == ("E/1", world.now)
        assert len(world.sends) == sent


def test_a_job_from_its_start_to_its_end(side: Any) -> None:
    flow, transport = side.flow(
        [
            Exchange.json(ACCEPTED, 202),
            UNKNOWN,
            Exchange.json({"executionId": "E/1", "status": "running"}),
            Exchange.json({"executionId": "E/1", "status": "completed", "result": 1}),
        ]
    )
    job = side.get(
        flow.execute_async(
            "q",
            parameters={"p": 1},
            block_overrides={"s": {"model": "m"}},
            trace=True,
            version=2,
            timeout=9.0,
            session_id="S",
        )
    )
    assert isinstance(job, Job if side.kind == "sync" else AsyncJob)
    assert (job.execution_id, job.flow_id, job.session_id, job.status) == ("E/1", "F", "S", "started")
    assert job.accepted.raw == ACCEPTED
    assert repr(job) == f"{type(job).__name__}('E/1')"
    assert side.get(job.poll()).status == "pending"
    assert side.get(job.wait(poll_interval=0.0)).output == 1
    assert [request.url.raw_path for request in transport.requests] == [
        b"/api/v1/seq/acme/it/two-step/v2/jobs",
        *[b"/api/v1/seq/acme/it/two-step/jobs/E%2F1"] * 3,
    ]
    assert transport.requests[0].content == (
        b'{"message":"q","parameters":{"p":1},"blockOverrides":{"s":{"model":"m"}},"iterationsUsed":0,'
        b'"accumulatedOutputs":{},"trace":true}'
    )
    assert [request.headers.get("X-Session-Id") for request in transport.requests] == ["S", None, None, None]
    assert set(transport.requests[0].extensions["timeout"].values()) == {9.0}


def test_a_job_is_found_again_by_its_id(side: Any) -> None:
    flow, transport = side.flow([Exchange.json({"status": "failed", "error": "why"}), UNKNOWN])
    job = flow.job("E/1")
    assert (job.execution_id, job.flow_id, job.session_id, job.status) == ("E/1", None, None, None)
    assert transport.requests == []
    status = side.get(job.wait())
    assert (status.execution_id, status.status, status.error) == ("E/1", "failed", "why")
    with pytest.raises(FlowNotFoundError):
        side.get(flow.job("E/2").wait())


def test_the_clients_wait_by_the_real_clock(side: Any) -> None:
    flow, _ = side.flow([Exchange.json({"status": "running"})] * 2)
    with pytest.raises(APITimeoutError, match=r"within 0\.001 s"):
        side.get(flow.job("E").wait(timeout=0.001))


@pytest.mark.parametrize(
    ("exchange", "kind"),
    [
        (Exchange.json({"executionId": "", "status": "started"}, 202), APIResponseError),
        (Exchange.json({"status": "started"}, 202), APIResponseError),
        (Exchange.json({"detail": {"code": "NO_STEPS"}}, 422), FlowExecutionError),
        (Exchange(error=httpx.ReadTimeout("slow")), APITimeoutError),
    ],
)
def test_failures_of_handing_in_are_typed(side: Any, exchange: Exchange, kind: type[NoukaiError]) -> None:
    flow, _ = side.flow([exchange])
    with pytest.raises(kind):
        side.get(flow.execute_async("q"))


def test_arguments_are_checked_before_anything_is_sent(side: Any) -> None:
    flow, transport = side.flow([])
    for wrong in ({"timeout": -1}, {"version": "v2"}, {"session_id": "\n"}, {"parameters": {"x": object()}}):
        with pytest.raises(ValueError, match=r".+"):
            side.get(flow.execute_async("q", **wrong))
    for wrong in ({"timeout": -1}, {"timeout": None}, {"poll_interval": -1}, {"timeout": True}):
        with pytest.raises(ValueError, match="seconds"):
            side.get(flow.job("E").wait(**wrong))
    with pytest.raises(ValueError, match="seconds"):
        side.get(flow.job("E").poll(timeout=-1))
    for name in ("", "..", 5):
        with pytest.raises(ValueError, match="execution_id"):
            flow.job(name)
    assert transport.requests == []
