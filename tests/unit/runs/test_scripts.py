"""The scripts, on fakeredis and on a real server: what they write, what they refuse, and that saying it twice does no harm."""

from __future__ import annotations

import itertools
import time
from datetime import datetime

import pytest
import redis

from noukai_worker.errors import (
    EntriesTrimmed,
    EntryUnreadable,
    IdempotencyConflict,
    InvalidRequest,
    PositionAhead,
    RunExpired,
    RunFinished,
    RunNotFound,
)
from noukai_worker.runs import (
    EntryType,
    Failure,
    RunRequest,
    RunStore,
    State,
    keys,
    operations,
    outcome,
)
from noukai_worker.runs.answers import Advanced, Claimed, Ended, Fenced, Refused, Unsent
from noukai_worker.runs.outcome import Completed, Failed, GivenBack, Paused, Retrying
from noukai_worker.settings import Settings
from noukai_worker.sweeper import Sweeper

from .words import REQUEST, claim, claimed, create, end, given, log, make_overdue, sweep, write


def test_a_run_is_recorded_once_with_its_first_entry(store: RunStore) -> None:
    first, second = create(store), create(store, token="other")
    assert (first.new, first.state, first.position) == (True, State.QUEUED, 1)
    assert (second.new, second.token) == (False, "secret")
    assert [(entry.seq, entry.type, entry.attempt) for entry in log(store)] == [(1, EntryType.QUEUED, 0)]


def test_one_id_with_another_request_is_a_conflict(store: RunStore) -> None:
    create(store)
    with pytest.raises(IdempotencyConflict):
        create(store, request=RunRequest.build(flow="acme/demo/two-step", message="ho"))


def test_an_entry_is_published_as_it_is_logged_with_the_servers_time(store: RunStore, client: redis.Redis) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe(keys.channel("r"))
        while not channel.subscribed or channel.get_message(timeout=1):
            pass
        create(store, request=RunRequest.build(flow="acme/demo/two-step", message="hi", metadata={"user": 'é"\n'}))
        lease = claimed(store)
        write(store, lease, 2, "step_output")
        heard = [message["data"] for message in iter(lambda: channel.get_message(timeout=0.2), None)]
    entries = log(store)
    assert heard == [entry.raw for entry in entries]
    assert entries[0].data["metadata"] == {"user": 'é"\n'}
    assert all(b"\n" not in entry.raw for entry in entries)
    moment = datetime.fromisoformat(entries[-1].at).timestamp()
    assert abs(moment - time.time()) < 5


@pytest.mark.parametrize(
    "moment", ["1970-01-01", "1999-12-31", "2000-02-29", "2024-02-29", "2026-03-01", "2100-03-01", "2399-12-31"]
)
def test_the_calendar_of_the_prelude(client: redis.Redis, moment: str) -> None:
    from noukai_worker.runs import scripts

    ms = int(datetime.fromisoformat(f"{moment}T23:59:58.007+00:00").timestamp() * 1000)
    prelude = scripts.load("due").text.split("-- Which runs")[0]
    assert client.eval(f"{prelude}\nreturn rfc3339(tonumber(ARGV[1]))", 0, ms) == f"{moment}T23:59:58.007Z".encode()


def test_a_claim_counts_an_attempt_and_hands_out_the_request(store: RunStore) -> None:
    create(store)
    answer = claim(store)
    assert isinstance(answer, Claimed)
    assert (answer.lease.attempt, answer.lease.position, answer.attempts, answer.request) == (1, 2, 1, REQUEST)
    assert log(store)[-1].data == {"attempt": 1, "resumed_at_step": 0, "worker": "w"}


def test_a_claim_is_due_when_its_lease_is(store: RunStore) -> None:
    create(store, pickup=1000)
    claimed(store, lease=5)
    wait = store.perform(operations.due(10, lease=10)).next_in
    assert wait is not None
    assert 4 < wait <= 5


def test_the_same_claim_again_gets_the_same_lease_and_another_none(store: RunStore) -> None:
    create(store)
    first = claim(store)
    assert claim(store) == first
    assert claim(store, claim_id="other") == Refused(State.RUNNING)
    assert len(log(store)) == 2


def test_a_run_is_not_claimed_before_it_is_due(store: RunStore, client: redis.Redis) -> None:
    create(store, delay=50)
    assert claim(store) == Refused(State.QUEUED)
    assert store.perform(operations.due(10, lease=10)).run_ids == ()
    make_overdue(client)
    assert isinstance(sweep(store), Unsent)
    assert isinstance(claim(store), Claimed)


def test_entries_are_numbered_and_the_checkpoint_comes_with_them(store: RunStore) -> None:
    create(store)
    lease = claimed(store)
    progress = {"outputs": [("a", b'{"x": 1}')], "execution_id": "E", "step_index": 1, "step_count": 2}
    assert write(store, lease, 2, "step_output", "step_completed", **progress) == Advanced(4)
    end(store, lease, 4, GivenBack())
    again = claim(store, claim_id="d")
    assert isinstance(again, Claimed)
    point = again.checkpoint
    assert (point.execution_id, point.step_index, point.outputs, point.step_count) == ("E", 1, {"a": {"x": 1}}, 2)
    assert (point.last_step, point.finished) == ("a", False)
    assert (again.lease.attempt, again.attempts) == (2, 1), "an attempt that was given back does not count"
    assert log(store)[-1].data["resumed_at_step"] == 1
    assert [entry.seq for entry in log(store)] == list(range(1, 7))


def test_the_same_write_again_changes_nothing(store: RunStore) -> None:
    create(store)
    lease = claimed(store)
    assert write(store, lease, 2, "step_output") == write(store, lease, 2, "step_output") == Advanced(3)
    assert end(store, lease, 3, Completed(1)) == end(store, lease, 3, Completed(1)) == Advanced(4)
    assert len(log(store)) == 4


def test_a_write_from_another_position_is_refused(store: RunStore) -> None:
    create(store)
    lease = claimed(store)
    assert write(store, lease, 1, "step_output", "step_output") == Fenced(State.RUNNING)
    assert len(log(store)) == 2


@pytest.mark.parametrize("how", [Completed({"a": 1}, "E"), Failed(Failure("X", "no"))])
def test_nothing_is_written_after_the_end(store: RunStore, client: redis.Redis, how: outcome.Outcome) -> None:
    create(store)
    lease = claimed(store)
    assert end(store, lease, 2, how) == Advanced(3)
    last = log(store)[-1]
    assert last.terminal
    assert write(store, lease, 3, "step_output") == Fenced(store.perform(operations.show("r")).state)
    assert claim(store, claim_id="d") == Refused(store.perform(operations.show("r")).state)
    with pytest.raises(RunFinished):
        store.perform(operations.cancel("r"))
    assert log(store)[-1] == last
    assert client.zcard(keys.DEADLINES) == 0
    assert not client.exists(keys.outputs("r"))


def test_an_older_attempt_is_fenced_out(store: RunStore, client: redis.Redis) -> None:
    create(store)
    old = claimed(store)
    make_overdue(client)
    assert isinstance(sweep(store), Unsent)
    assert write(store, old, 2, "step_output") == Fenced(State.QUEUED)
    new = claimed(store, claim_id="d")
    before = log(store)
    assert write(store, old, new.position, "step_output") == Fenced(State.RUNNING)
    assert end(store, old, new.position, Completed(0)) == Fenced(State.RUNNING)
    assert log(store) == before
    assert write(store, new, new.position, "step_output") == Advanced(5)


def test_a_lease_that_is_renewed_is_not_overdue(store: RunStore) -> None:
    create(store)
    lease = claimed(store, lease=0.001)
    while not store.perform(operations.due(10, lease=10)).run_ids:
        pass
    assert write(store, lease, 2) == Advanced(2)
    assert store.perform(operations.due(10, lease=10)).run_ids == ()


def test_the_sweeper_corrects_a_deadline_that_the_run_does_not_confirm(store: RunStore, client: redis.Redis) -> None:
    create(store)
    client.zadd(keys.DEADLINES, {"r": 1, "gone": 1})
    assert sweep(store) is None
    assert sweep(store, "gone") is None
    found = store.perform(operations.due(10, lease=10))
    assert found.run_ids == ()
    assert found.next_in is not None
    assert 9 < found.next_in <= 10


def test_a_lost_message_is_sent_again_and_again_with_growing_pauses(store: RunStore, client: redis.Redis) -> None:
    create(store)
    pauses = []
    for _ in range(3):
        make_overdue(client)
        answer = sweep(store)
        assert isinstance(answer, Unsent)
        assert (answer.run_id, answer.request) == ("r", REQUEST)
        pauses.append(round(store.perform(operations.due(10, lease=10)).next_in or 0))
    assert pauses == [20, 40, 80]
    assert len(log(store)) == 1


def test_a_lost_worker_is_announced_and_the_run_goes_on(store: RunStore, client: redis.Redis) -> None:
    create(store)
    claimed(store)
    make_overdue(client)
    assert isinstance(sweep(store), Unsent)
    last = log(store)[-1]
    assert (last.type, last.data["code"], last.data["worker"]) == (EntryType.RETRYING, "worker_lost", "w")
    assert claimed(store, claim_id="d").attempt == 2


def test_attempts_have_a_limit_that_survives_lost_workers(store: RunStore, client: redis.Redis) -> None:
    create(store, max_attempts=2)
    claimed(store, claim_id="1")
    make_overdue(client)
    assert isinstance(sweep(store), Unsent)
    claimed(store, claim_id="2")
    make_overdue(client)
    answer = sweep(store)
    assert isinstance(answer, Ended)
    assert (answer.failure.code, answer.attempts) == ("attempts_exhausted", 2)
    assert log(store)[-1].data["code"] == "attempts_exhausted"


def test_a_lost_execute_call_is_found_out_about_by_another_attempt(store: RunStore, client: redis.Redis) -> None:
    create(store, request=RunRequest.build(flow="acme/demo/two-step", mode="execute"), max_attempts=1)
    assert not given(store, "1").unsettled
    make_overdue(client)
    assert isinstance(sweep(store), Unsent), "even if it may not make the call again"
    assert given(store, "2").unsettled


def test_a_lost_call_in_a_session_that_others_use_is_left_to_its_worker_for_longer(
    store: RunStore, client: redis.Redis
) -> None:
    fields = {"flow": "acme/demo/two-step", "mode": "execute", "session_id": "theirs"}
    create(store, "careful", RunRequest.build(**fields, metadata={"on_unknown_outcome": "retry"}))
    create(store, "bold", RunRequest.build(**fields, on_unknown_outcome="retry"))
    for run_id in ("careful", "bold"):
        claimed(store, run_id)
        make_overdue(client, run_id)
    for _ in range(3):
        assert sweep(store, "careful") is None, "its worker may only be cut off, and hold the paid result"
        make_overdue(client, "careful")
    assert isinstance(sweep(store, "careful"), Unsent)
    assert isinstance(sweep(store, "bold"), Unsent)


def test_a_patient_sweeper_gives_a_running_attempt_one_more_lease(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    make_overdue(client)
    assert sweep(store, patient=True) is None
    assert write(store, lease, 2, "step_output") == Advanced(3)
    make_overdue(client)
    assert sweep(store, patient=True) is None, "it was heard in between: this is another silence"
    make_overdue(client)
    assert isinstance(sweep(store, patient=True), Unsent), "not again and again"


def test_a_damaged_run_is_an_error_of_its_own_and_makes_room(store: RunStore, client: redis.Redis) -> None:
    for run_id in ("damaged", "sound"):
        create(store, run_id)
        make_overdue(client, run_id)
    client.hset(keys.run("damaged"), "max_age", "soon")
    sent: list[str] = []
    sweeper = Sweeper(Settings(), send=lambda unsent: sent.append(unsent.run_id), end=lambda _: None, store=store)
    with pytest.raises(redis.ResponseError):
        sweep(store, "damaged")
    sweeper.sweep()
    assert sent == ["sound"]
    assert store.perform(operations.due(10, lease=10)).run_ids == ()


def test_a_broker_that_is_away_does_not_end_the_sweeping(store: RunStore, client: redis.Redis) -> None:
    create(store)
    make_overdue(client)

    def refuse(_: object) -> None:
        raise OSError("no broker")

    Sweeper(Settings(), send=refuse, end=lambda _: None, store=store).sweep()
    assert round(store.perform(operations.due(10, lease=10)).next_in or 0) == 10


def test_a_repeated_write_has_its_lease(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    write(store, lease, 2, "step_output")
    make_overdue(client)
    assert write(store, lease, 2, "step_output") == Advanced(3)
    assert store.perform(operations.due(10, lease=10)).run_ids == ()
    create(store, "c")
    claimed(store, "c")
    make_overdue(client, "c")
    assert claimed(store, "c").attempt == 1
    assert store.perform(operations.due(10, lease=10)).run_ids == ()


def test_a_gap_without_sweepers_makes_them_patient_for_a_lease(store: RunStore, client: redis.Redis) -> None:
    assert not store.perform(operations.due(10, lease=10)).patient
    assert not store.perform(operations.due(10, lease=10)).patient
    client.hset(keys.SWEEP, "at", int(time.time() * 1000) - 6000)
    assert store.perform(operations.due(10, lease=10)).patient
    assert store.perform(operations.due(10, lease=10)).patient, "every sweeper, not only the first that came back"
    client.hset(keys.SWEEP, "patient", int(time.time() * 1000) - 1)
    assert not store.perform(operations.due(10, lease=10)).patient


def test_a_message_that_could_not_be_sent_is_tried_again_soon(store: RunStore, client: redis.Redis) -> None:
    create(store)
    for _ in range(3):
        make_overdue(client)
        assert isinstance(sweep(store), Unsent)
        store.perform(operations.unsent("r", pickup=10))
        assert round(store.perform(operations.due(10, lease=10)).next_in or 0) == 10


def test_a_run_that_is_too_old_is_not_claimed(store: RunStore) -> None:
    create(store, max_age=0)
    while isinstance(answer := claim(store), Claimed):
        end(store, answer.lease, answer.lease.position, GivenBack())
    assert answer == Refused(State.QUEUED)
    assert store.perform(operations.due(10, lease=10)).run_ids == ("r",)
    ended = sweep(store)
    assert isinstance(ended, Ended)
    assert ended.failure.code == "too_old"


def test_outputs_live_as_long_as_their_run(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    write(store, lease, 2, "step_completed", outputs=[("a", b"1")], step_index=1)
    for key in (keys.run("r"), keys.log("r"), keys.outputs("r")):
        client.pexpire(key, 5000)
    client.hset(keys.run("r"), "expires", 1)
    write(store, lease, 3)
    assert {client.pttl(key) > 60_000 for key in (keys.run("r"), keys.log("r"), keys.outputs("r"))} == {True}


def test_an_unfinished_run_outlives_workers_that_are_away_for_long(store: RunStore, client: redis.Redis) -> None:
    create(store, retention=1, max_age=500)
    for key in (keys.run("r"), keys.log("r"), keys.DEADLINES):
        assert client.pttl(key) > 500_000


def test_a_record_that_was_made_twice_with_one_answer_lost_is_new(store: RunStore) -> None:
    assert create(store).new
    assert create(store).new, "the same token: the same call, repeated by the connection"
    assert not create(store, token="other").new


@pytest.mark.parametrize("run_id", ["", "a b", 'a"b', "a}b", "é", "x" * 256])
def test_an_id_that_would_break_keys_or_entries_is_refused(store: RunStore, run_id: str) -> None:
    with pytest.raises(InvalidRequest, match="task id"):
        create(store, run_id)


def test_a_result_that_is_not_json_is_a_failure_not_an_accident(store: RunStore) -> None:
    create(store)
    end(store, claimed(store), 2, Completed("\ud800"))
    assert log(store)[-1].data["code"] == "unreadable_result"
    unreadable = outcome.readable(Completed("\ud800"))
    assert isinstance(unreadable, Failed)
    assert not unreadable.settled, "it was paid for"
    create(store, "p")
    end(store, claimed(store, "p"), 2, Paused({"tool_calls": [{"id": "\ud800"}]}, 10))
    assert log(store, "p")[-1].data["code"] == "unreadable_result"
    create(store, "f")
    end(store, claimed(store, "f"), 2, Failed(Failure("boom", "half \ud800")))
    assert log(store, "f")[-1].data["message"] == "half ?"
    create(store, "n")
    end(store, claimed(store, "n"), 2, Completed(float("nan")))
    assert log(store, "n")[-1].data["result"] is None


def test_a_retry_is_sent_when_it_is_due(store: RunStore, client: redis.Redis) -> None:
    create(store)
    end(store, claimed(store), 2, Retrying(Failure("BUSY", "later"), 30))
    assert claim(store, claim_id="d") == Refused(State.RETRYING)
    wait = store.perform(operations.due(10, lease=10)).next_in
    assert wait is not None
    assert 29 < wait <= 30
    make_overdue(client)
    assert isinstance(sweep(store), Unsent)
    assert claimed(store, claim_id="d").attempt == 2


def test_a_run_that_is_too_old_fails(store: RunStore, client: redis.Redis) -> None:
    create(store)
    end(store, claimed(store), 2, Retrying(Failure("BUSY", "later"), 1))
    client.hset(keys.run("r"), "begins", 1)
    make_overdue(client)
    answer = sweep(store)
    assert isinstance(answer, Ended)
    assert answer.failure.code == "too_old"


def test_a_pause_ends(store: RunStore, client: redis.Redis) -> None:
    create(store)
    end(store, claimed(store), 2, Paused({"tool_calls": []}, 100))
    assert store.perform(operations.show("r")).state is State.PAUSED
    make_overdue(client)
    answer = sweep(store)
    assert isinstance(answer, Ended)
    assert answer.failure.code == "pause_expired"


@pytest.mark.parametrize("state", ["queued", "running", "retrying", "paused"])
def test_what_has_not_ended_can_be_cancelled(store: RunStore, client: redis.Redis, state: str) -> None:
    create(store)
    lease = claimed(store) if state != "queued" else None
    if state == "retrying" and lease:
        end(store, lease, 2, Retrying(Failure("BUSY", ""), 9))
    if state == "paused" and lease:
        end(store, lease, 2, Paused({}, 9))
    cancelled = store.perform(operations.cancel("r", reason="enough"))
    assert (cancelled.before, cancelled.mode) == (state, "stream")
    assert (log(store)[-1].type, log(store)[-1].data) == (EntryType.CANCELLED, {"reason": "enough"})
    assert client.zcard(keys.DEADLINES) == 0
    if lease:
        assert isinstance(write(store, lease, len(log(store)), "step_output"), Fenced)


def test_a_transition_that_the_table_does_not_know_is_refused(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    with pytest.raises(redis.ResponseError, match=r"ILLEGAL|illegal"):
        store.perform(operations.advance(lease, position=2, extend=1, to=State.RUNNING))
    assert len(log(store)) == 2


def test_readers_are_told_what_cannot_be_had(store: RunStore, client: redis.Redis) -> None:
    with pytest.raises(RunNotFound):
        store.perform(operations.read("r", after=0, limit=1))
    create(store)
    with pytest.raises(PositionAhead) as ahead:
        store.perform(operations.read("r", after=2, limit=1))
    assert (ahead.value.after, ahead.value.last) == (2, 1)
    client.delete(keys.run("r"), keys.log("r"))
    for operation in (operations.read("r", after=0, limit=1), operations.show("r"), operations.cancel("r")):
        with pytest.raises(RunExpired):
            store.perform(operation)
    with pytest.raises(RunExpired):
        create(store)
    with pytest.raises(RunExpired):
        claim(store)


def test_a_trimmed_log_says_so(store: RunStore) -> None:
    create(store, max_entries=100)
    lease = claimed(store)
    position = 2
    for _ in range(60):
        write(store, lease, position, *["step_output"] * 10)
        position += 10
    with pytest.raises(EntriesTrimmed) as trimmed:
        store.perform(operations.read("r", after=0, limit=10))
    first = trimmed.value.first
    assert 2 < first <= position - 99
    assert store.perform(operations.read("r", after=first - 1, limit=1)).entries[0].seq == first


@pytest.mark.parametrize("garbage", [b"{", b"[]", b"7", b'{"seq": 2}', b"\xff"])
def test_what_is_no_entry_is_said_to_be_none(store: RunStore, client: redis.Redis, garbage: bytes) -> None:
    create(store)
    client.xadd(keys.log("r"), {"entry": garbage}, id="2-0")
    with pytest.raises(EntryUnreadable):
        log(store)


def test_pages_follow_each_other(store: RunStore) -> None:
    create(store)
    write(store, claimed(store), 2, *["step_output"] * 5)
    seqs, after = [], 0
    while page := store.perform(operations.read("r", after=after, limit=3)).entries:
        seqs.append([entry.seq for entry in page])
        after = page[-1].seq
    assert seqs == [[1, 2, 3], [4, 5, 6], [7]]


def test_the_view_of_a_run(store: RunStore) -> None:
    create(store, request=RunRequest.build(flow="acme/demo/two-step", metadata={"user": 7}))
    view = store.perform(operations.show("r"))
    assert (view.flow, view.mode, view.state, view.metadata, view.token) == (
        "acme/demo/two-step",
        "stream",
        "queued",
        {"user": 7},
        "secret",
    )
    assert "secret" not in repr(view)
    assert view.deadline is not None
    end(store, claimed(store), 2, Completed({"text": "done"}, "E"))
    view = store.perform(operations.show("r"))
    assert (view.result, view.failure, view.deadline, view.execution_id) == ({"text": "done"}, None, None, "E")


def test_the_newest_runs_come_first(store: RunStore, client: redis.Redis) -> None:
    for n, run_id in enumerate(["a", "b", "c"]):
        create(store, run_id)
        client.zadd(keys.INDEX, {run_id: n + 1e13})
    assert store.perform(operations.recent(limit=2)) == ("c", "b")
    assert store.perform(operations.peek("nobody")) is None


def test_everything_expires_whatever_happens(store: RunStore, client: redis.Redis) -> None:
    """Each key's time to live outlasts the run's deadline, in every state; the fixture checks that none is missing."""
    ends: list[outcome.Outcome] = [
        Completed(1),
        Failed(Failure("x", "y")),
        Retrying(Failure("x", "y"), 5),
        Paused({}, 500),
        GivenBack(),
    ]
    for n, how in enumerate(ends):
        run_id = f"r{n}"
        create(store, run_id)
        lease = claimed(store, run_id)
        write(store, lease, 2, "step_completed", outputs=[("a", b"1")], step_index=1)
        end(store, lease, 3, how)
        wait = how.wait if isinstance(how, Paused) else 0
        for key in itertools.chain([keys.run(run_id), keys.log(run_id), keys.tombstone(run_id)]):
            assert client.pttl(key) >= (59 + wait) * 1000, (key, how)
    assert client.pttl(keys.DEADLINES) >= 500_000
