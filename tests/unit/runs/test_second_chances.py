"""Runs that go on after a stop: paused ones that get their answer, failed ones that are redriven, calls of which nobody knows."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from noukai_worker.errors import RunNotFailed, RunNotFound, RunNotPaused
from noukai_worker.runs import Failure, Reply, RunRequest, RunStore, State, keys, operations
from noukai_worker.runs.answers import Ended, Unsent
from noukai_worker.runs.outcome import Completed, Failed, GivenBack, Outcome, Paused, Progress, Retrying, keep

from .words import claimed, create, end, given, log, make_overdue, sweep, write

EXECUTE = RunRequest.build(flow="acme/demo/two-step", mode="execute")
WAITING: dict[str, Any] = {"step_id": "s1", "tool_calls": [{"id": "t1"}], "execution_id": "e"}
RESULTS: list[dict[str, Any]] = [{"toolCallId": "t1", "content": "18 °C"}]
BOOM = Failure("boom", 'it "broke"\n')


def resume(store: RunStore, position: int, run_id: str = "r") -> Unsent:
    return store.perform(operations.resume(run_id, position=position, results=RESULTS, pickup=10))


def redrive(store: RunStore, run_id: str = "r") -> Unsent:
    return store.perform(operations.redrive(run_id, pickup=10))


def dead(store: RunStore, **arguments: Any) -> tuple[str, ...]:
    return store.perform(operations.dead(**arguments))


def paused(store: RunStore, **fields: Any) -> int:
    """A run that waits for tool results; its position."""
    create(store, **fields)
    end(store, claimed(store), 2, Paused(WAITING, 100))
    return 3


def failed(store: RunStore, run_id: str = "r", **fields: Any) -> None:
    create(store, run_id, **fields)
    end(store, claimed(store, run_id), 2, Failed(BOOM))


def test_a_paused_run_goes_on_with_its_answer(store: RunStore) -> None:
    assert resume(store, paused(store)).request.flow == "acme/demo/two-step"
    last = log(store)[-1]
    assert (last.type, last.data) == ("run.resumed", {"tool_call_ids": ["t1"]})
    assert given(store, "2").reply == Reply(WAITING, RESULTS)


def test_an_answer_counts_until_its_step_has_finished(store: RunStore, client: redis.Redis) -> None:
    resume(store, paused(store))
    lease = claimed(store, claim_id="2")
    make_overdue(client)
    sweep(store)
    again = given(store, "3")
    assert again.reply == Reply(WAITING, RESULTS), "the worker was lost before the step had finished"
    assert again.lease.attempt == lease.attempt + 1
    write(store, again.lease, again.lease.position, "step_completed", outputs=[("s1", b"1")], step_index=1)
    make_overdue(client)
    sweep(store)
    assert given(store, "4").reply is None


def test_each_pause_is_answered_once(store: RunStore) -> None:
    position = paused(store)
    resume(store, position)
    with pytest.raises(RunNotPaused) as caught:
        resume(store, position)
    assert caught.value.state == "queued"
    end(store, claimed(store, claim_id="2"), 5, Paused(WAITING, 100))
    with pytest.raises(RunNotPaused, match="each pause is answered once"):
        resume(store, position)
    resume(store, 6)


def test_an_order_whose_answer_was_lost_may_be_given_again(store: RunStore, client: redis.Redis) -> None:
    """The client of Redis does so by itself; it must not make its caller believe that somebody else was faster."""
    resumed = operations.resume("r", position=paused(store), results=RESULTS, pickup=10)
    assert store.perform(resumed) == store.perform(resumed)
    end(store, claimed(store, claim_id="2"), 5, Failed(BOOM))
    assert store.perform(resumed).run_id == "r", "however far the run has come meanwhile"
    redriven = operations.redrive("r", pickup=10)
    assert store.perform(redriven) == store.perform(redriven)
    assert [entry.type for entry in log(store)][-3:] == ["run.resumed", "run.started", "run.retrying"]
    with pytest.raises(RunNotFailed):
        redrive(store)


def test_only_what_is_paused_can_be_resumed(store: RunStore) -> None:
    create(store)
    with pytest.raises(RunNotPaused):
        resume(store, 1)
    with pytest.raises(RunNotFound):
        resume(store, 1, "nobody")


def test_a_pause_does_not_count_towards_the_age_of_a_run_nor_its_attempts(store: RunStore, client: redis.Redis) -> None:
    position = paused(store, max_age=50, max_attempts=1)
    client.hset(keys.run("r"), "begins", 1)
    resume(store, position)
    assert given(store, "2").attempts == 1
    make_overdue(client)
    ended = sweep(store)
    assert isinstance(ended, Ended)
    assert ended.failure.code == "attempts_exhausted", "and not its age"


def test_a_message_of_a_resumed_run_that_gets_lost_is_sent_again(store: RunStore, client: redis.Redis) -> None:
    resume(store, paused(store))
    make_overdue(client)
    assert isinstance(sweep(store), Unsent)


def test_a_worker_that_answers_by_itself_says_so_in_the_same_write(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    reply = Reply(WAITING, RESULTS)
    store.perform(keep(lease, 2, Progress([operations.entry("run.resumed", {})], reply=reply), extend=10))
    make_overdue(client)
    sweep(store)
    assert given(store, "2").reply == reply


def test_failed_runs_are_listed_the_last_one_first(store: RunStore, client: redis.Redis) -> None:
    for n, run_id in enumerate(("a", "b", "c")):
        failed(store, run_id)
        client.zincrby(keys.DEAD, n * 1000, run_id)
    create(store, "d")
    assert dead(store) == ("c", "b", "a")
    assert dead(store, offset=1, limit=1) == ("b",)
    since = client.zscore(keys.DEAD, "b")
    assert since is not None
    assert dead(store, since=float(since) / 1000) == ("c", "b")


def test_a_failed_run_goes_on_where_it_stopped(store: RunStore) -> None:
    create(store, max_attempts=1)
    lease = claimed(store)
    write(store, lease, 2, "step_completed", outputs=[("s1", b'"one"')], step_index=1, execution_id="e")
    end(store, lease, 3, Failed(BOOM))
    assert redrive(store).run_id == "r"
    again = given(store, "2")
    assert (again.lease.attempt, again.attempts) == (2, 1)
    assert (again.checkpoint.step_index, again.checkpoint.outputs) == (1, {"s1": "one"})
    assert dead(store) == ()


def test_the_log_of_a_redriven_run_has_one_end_and_no_hole(store: RunStore, client: redis.Redis) -> None:
    failed(store)
    redrive(store)
    entries = log(store)
    assert [(entry.seq, entry.type) for entry in entries] == [
        (1, "run.queued"),
        (2, "run.started"),
        (3, "run.retrying"),
    ]
    said = entries[-1].data
    assert said == {"attempt": 1, "delay": 0, "redriven": True, "code": "boom", "message": BOOM.message, "attempts": 1}
    assert [name for name, _ in client.xrange(keys.log("r"))] == [b"1-0", b"2-0", b"3-1"]
    assert store.perform(operations.read("r", after=3, limit=10)).entries == ()
    end(store, claimed(store, claim_id="2"), 4, Completed("done"))
    assert [entry.seq for entry in log(store)] == [1, 2, 3, 4, 5]
    assert [entry.terminal for entry in log(store)] == [False] * 4 + [True]


def test_a_reader_that_saw_the_end_goes_on_behind_it(store: RunStore) -> None:
    failed(store)
    redrive(store)
    claimed(store, claim_id="2")
    assert [entry.type for entry in store.perform(operations.read("r", after=3, limit=10)).entries] == ["run.started"]


def test_only_what_has_failed_can_be_redriven(store: RunStore) -> None:
    create(store)
    with pytest.raises(RunNotFailed, match="queued"):
        redrive(store)
    end(store, claimed(store), 2, Completed("done"))
    with pytest.raises(RunNotFailed, match="completed"):
        redrive(store)
    with pytest.raises(RunNotFound):
        redrive(store, "nobody")


def test_a_failed_run_is_kept_longer_than_others(store: RunStore, client: redis.Redis) -> None:
    create(store, failed_retention=500)
    lease = claimed(store)
    write(store, lease, 2, "step_completed", outputs=[("s1", b"1")], step_index=1)
    end(store, lease, 3, Failed(BOOM))
    for key in (keys.run("r"), keys.log("r"), keys.outputs("r"), keys.DEAD):
        assert 499_000 < client.pttl(key) <= 500_000, key
    redrive(store)
    assert client.pttl(keys.run("r")) < 200_000


@pytest.mark.parametrize(
    ("how", "unsettled"),
    [
        (Retrying(BOOM, 0), False),
        (Retrying(BOOM, 0, settled=False), True),
        (GivenBack(), False),
        (GivenBack(settled=False), True),
    ],
    ids=str,
)
def test_whether_a_paid_call_was_carried_out_is_remembered_until_it_is_known(
    store: RunStore, client: redis.Redis, how: Outcome, unsettled: bool
) -> None:
    create(store, request=EXECUTE)
    end(store, claimed(store), 2, how)
    make_overdue(client)
    sweep(store)
    second = given(store, "2")
    assert second.unsettled is unsettled
    assert given(store, "2").unsettled is unsettled, "the same claim gets the same answer"
    end(store, second.lease, second.lease.position, Retrying(BOOM, 0, settled=False))
    make_overdue(client)
    sweep(store)
    assert given(store, "3").unsettled


def test_a_streaming_run_has_no_such_calls(store: RunStore, client: redis.Redis) -> None:
    create(store)
    claimed(store)
    make_overdue(client)
    sweep(store)
    assert not given(store, "2").unsettled


@pytest.mark.parametrize("settled", [True, False])
def test_a_new_life_begins_when_all_is_known_of_the_old_one(store: RunStore, settled: bool) -> None:
    create(store, request=EXECUTE)
    end(store, claimed(store), 2, Failed(BOOM, settled=settled))
    redrive(store)
    again = given(store, "2")
    assert (again.life, again.unsettled) == ((1, False) if settled else (0, True))


def test_a_cancelled_run_is_neither_listed_nor_redriven(store: RunStore) -> None:
    create(store)
    store.perform(operations.cancel("r"))
    assert dead(store) == ()
    with pytest.raises(RunNotFailed):
        redrive(store)


def test_what_the_sweeper_gives_up_is_listed_too(store: RunStore, client: redis.Redis) -> None:
    create(store, max_attempts=1)
    claimed(store)
    make_overdue(client)
    assert isinstance(sweep(store), Ended)
    assert dead(store) == ("r",)
    redrive(store)
    assert store.perform(operations.show("r")).state is State.QUEUED
    assert json.loads(client.xrange(keys.log("r"))[-1][1][b"entry"])["data"]["code"] == "attempts_exhausted"
