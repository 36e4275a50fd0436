"""Gates: who may begin when. Limits hold, tenants take turns, pauses are kept, and nobody who waits is forgotten."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import fakeredis
import hypothesis
import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st

from noukai_worker.errors import InvalidRequest
from noukai_worker.runs import RunRequest, RunStore, State, keys, operations
from noukai_worker.runs.answers import Admitted, GateView, Released
from noukai_worker.runs.operations import Gate
from noukai_worker.runs.outcome import Completed
from noukai_worker.settings import UNLIMITED, Limit
from tests.support.leaks import immortal
from tests.support.processes import until

from .words import claimed, create, end, make_overdue, sweep

PLAIN = Gate("default", "stream", ttl=60, limit=UNLIMITED)
WINDOW = 8


def limited(**limit: Any) -> Gate:
    return Gate("default", "stream", ttl=60, limit=Limit(**limit))


def admit(store: RunStore, gate: Gate, run_id: str = "r", tenant: str | None = None, lease: float = 10) -> Admitted:
    return store.perform(operations.admit(gate, run_id, tenant=tenant, again=False, lease=lease))


def enter(store: RunStore, run_id: str, tenant: str | None = "a", *, again: bool = False, limit: int = 0) -> Any:
    gate = Gate("default", "stream", ttl=60)  # as an enqueuer, who knows no limits
    return store.perform(operations.enter(gate, run_id, tenant=tenant, again=again, pickup=10, limit=limit))


def release(store: RunStore, gate: Gate = PLAIN, *, limit: int = 100, pickup: float = 10, **runs: Any) -> Released:
    return store.perform(operations.release(gate, pickup=pickup, limit=limit, **runs))


def look(store: RunStore, gate: Gate = PLAIN) -> GateView:
    return store.perform(operations.look(gate))


def pause(store: RunStore, seconds: float, gate: Gate = PLAIN) -> None:
    store.perform(operations.pause(gate, seconds))


def over(client: redis.Redis, ago: float = 0.0) -> None:
    """The pause has been over for so many seconds."""
    seconds, micros = client.time()  # type: ignore[misc]
    now = seconds * 1000 + micros // 1000
    client.hset(keys.gate("default", "gate"), mapping={"until": round(now - ago * 1000), "next": 0})


def test_without_limits_pauses_and_tenants_a_run_begins_and_nothing_is_written(
    store: RunStore, client: redis.Redis
) -> None:
    assert admit(store, PLAIN) == Admitted(now=True, permit=False, new=True, others=False)
    assert client.keys() == []


def test_no_more_than_the_limit_hold_a_permit_and_who_comes_too_late_waits(store: RunStore) -> None:
    gate = limited(concurrency=2)
    assert [admit(store, gate, run).now for run in "abcd"] == [True, True, False, False]
    view = look(store, gate)
    assert (view.concurrency, view.held, view.waiting) == (2, 2, {"stream": {"": 2}})
    assert release(store, gate).run_ids == ()
    assert release(store, gate, ended=["a"]).run_ids == ("c",)
    assert admit(store, gate, "e").now is False, "nobody overtakes those who wait, or who were called"
    assert admit(store, gate, "c").now is True
    assert release(store, gate, ended=["b", "c"]).run_ids == ("d", "e")


def test_nobody_overtakes_those_who_wait_though_a_permit_is_free(store: RunStore) -> None:
    gate = limited(concurrency=1)
    admit(store, gate, "a")
    admit(store, gate, "b")
    release(store, gate, limit=0, ended=["a"])
    assert admit(store, gate, "new").now is False
    assert release(store, gate).run_ids == ("b",)


def test_a_tenants_run_that_was_not_called_waits_behind_those_who_do(store: RunStore) -> None:
    enter(store, "a")
    assert admit(store, PLAIN, "sent by name", "b").now is False
    assert release(store).run_ids == ("a", "sent by name")


def test_a_message_that_comes_twice_waits_once(store: RunStore) -> None:
    gate = limited(concurrency=1)
    admit(store, gate, "a")
    assert [admit(store, gate, "b").now for _ in range(3)] == [False] * 3
    assert look(store, gate).waiting == {"stream": {"": 1}}


def test_permits_of_a_dead_worker_come_back_with_its_lease(store: RunStore) -> None:
    gate = limited(concurrency=1)
    assert admit(store, gate, "a", lease=0.05).now
    assert not admit(store, gate, "b").now
    found = release(store, gate)
    assert found.run_ids == ()
    assert found.next_in
    assert found.next_in <= 0.05
    until(lambda: release(store, gate).run_ids == ("b",), "the permit has come back")


def test_a_renewed_permit_is_kept(store: RunStore, client: redis.Redis) -> None:
    gate = limited(concurrency=1)
    admit(store, gate, "a", lease=5)
    store.perform(operations.renew(gate, ["a"], lease=10))
    score = client.zscore(keys.gate("default", "held"), "a")
    assert score
    assert score > time.time() * 1000 + 5_000


def test_the_next_attempt_of_a_run_takes_over_its_permit(store: RunStore) -> None:
    gate = limited(concurrency=1)
    admit(store, gate, "a")
    admit(store, gate, "b")
    assert admit(store, gate, "a") == Admitted(now=True, permit=True, new=False, others=True)
    assert look(store, gate).held == 1


def test_a_rate_lets_runs_begin_at_its_pace(store: RunStore) -> None:
    gate = limited(rate=2)
    assert [admit(store, gate, run).now for run in "abc"] == [True, False, False]
    found = release(store, gate)
    assert found.run_ids == ()
    assert found.next_in
    assert 0.2 < found.next_in <= 0.5
    began = time.monotonic()
    until(lambda: release(store, gate).run_ids == ("b",), "b is called")
    assert admit(store, gate, "b").now
    until(lambda: release(store, gate).run_ids == ("c",), "c is called")
    assert 0.6 < time.monotonic() - began < 2


def test_a_rate_may_be_used_a_little_in_advance(store: RunStore, client: redis.Redis) -> None:
    gate = limited(rate=100)
    began = client.time()
    count = [admit(store, gate, f"{n}").now for n in range(50)].count(True)
    ended = client.time()
    took = (ended[0] - began[0]) + (ended[1] - began[1]) / 1e6  # type: ignore[index]
    assert 6 <= count <= 7 + took * 100


def test_nothing_begins_during_a_pause_and_little_after_it(store: RunStore, client: redis.Redis) -> None:
    assert admit(store, PLAIN, "0").now
    pause(store, 30)
    assert not any(admit(store, PLAIN, f"{n}").now for n in range(1, 101))
    found = release(store)
    assert found.run_ids == ()
    assert found.next_in
    assert 29 < found.next_in <= 30
    paused_until = look(store).paused_until
    assert paused_until
    assert 29 < paused_until - time.time() <= 30.1
    over(client)
    assert len(release(store).run_ids) == 1, "no thundering herd"
    over(client, 8)
    assert len(release(store).run_ids) == WINDOW - 1, "what was called is on its way"


def test_the_longest_pause_counts_and_none_ends_it(store: RunStore) -> None:
    pause(store, 30)
    pause(store, 1)
    paused_until = look(store).paused_until
    assert paused_until
    assert paused_until - time.time() > 25
    pause(store, 0)
    assert look(store).paused_until is None
    assert admit(store, PLAIN).now


@pytest.mark.parametrize("seconds", range(1, 8))
def test_after_a_pause_the_pace_doubles_each_second(store: RunStore, client: redis.Redis, seconds: int) -> None:
    pause(store, 30)
    over(client, seconds)
    assert admit(store, PLAIN, "a").now
    over_for = float(client.hget(keys.gate("default", "gate"), "next") or 0)  # type: ignore[arg-type]
    ended = float(client.hget(keys.gate("default", "gate"), "until") or 0)  # type: ignore[arg-type]
    assert over_for - ended - seconds * 1000 == pytest.approx(1000 / (2 * 2**seconds), abs=60)


def test_a_room_is_filled_once_and_called_one_by_one(store: RunStore) -> None:
    assert [enter(store, "a1"), enter(store, "a1"), enter(store, "a2")] == [(), (), ()]
    assert look(store).waiting == {"stream": {"a": 2}}
    assert enter(store, "a1", limit=1) == ("a1",)
    assert enter(store, "a1", limit=1) == ("a2",), "it is on its way, and not sent again"
    assert enter(store, "a1", limit=1) == ()
    assert look(store).sent == {"stream": 2}


def test_a_run_without_a_tenant_is_only_kept_back_if_it_waits_already(store: RunStore) -> None:
    assert enter(store, "p", None) is None
    pause(store, 10)
    admit(store, PLAIN, "p")
    assert enter(store, "p", None) == ()


def test_ten_thousand_of_one_tenant_do_not_delay_another(store: RunStore) -> None:
    for n in range(1000):
        enter(store, f"a{n}", limit=1)
    for n in range(10):
        enter(store, f"b{n}", "b", limit=1)
    order: list[str] = []
    called = [f"a{n}" for n in range(WINDOW)]
    while len([run for run in order if run[0] == "b"]) < 10:
        order.append(called.pop(0))
        assert admit(store, PLAIN, order[-1], order[-1][0]).now
        called += release(store).run_ids
    assert len(order) <= 10 + 10 + WINDOW
    for tenant in "ab":
        mine = [run for run in order if run[0] == tenant]
        assert mine == [f"{tenant}{n}" for n in range(len(mine))]


def test_a_window_of_messages_is_on_its_way_and_each_that_arrives_calls_the_next(store: RunStore) -> None:
    for n in range(20):
        enter(store, f"{n}")
    assert len(release(store).run_ids) == WINDOW
    assert release(store).run_ids == ()
    answer = admit(store, PLAIN, "0", "a")
    assert (answer.now, answer.others) == (True, True)
    assert release(store).run_ids == (f"{WINDOW}",)


def test_a_message_that_is_lost_is_sent_again_after_growing_pauses(store: RunStore, client: redis.Redis) -> None:
    enter(store, "x")
    first = release(store, pickup=0.03)
    assert first.run_ids == ("x",)
    assert first.next_in
    assert first.next_in <= 0.03
    began = time.monotonic()
    sendings = 0
    while time.monotonic() - began < 0.5:
        sendings += len(release(store, pickup=0.03).run_ids)
    assert 2 <= sendings <= 5


def test_who_has_been_out_before_goes_before_the_others_of_its_tenant(store: RunStore) -> None:
    for run, again in [("1", False), ("2", False), ("9", True), ("8", True)]:
        enter(store, run, again=again)
    assert release(store).run_ids == ("9", "8", "1", "2")


def test_tenants_are_told_apart_whatever_their_names(store: RunStore) -> None:
    names = ["a", "a ", "aa", "}", "ä", "ö:1", "~", " "]
    for name in names:
        for n in range(2):
            enter(store, f"{names.index(name)}.{n}", name)
    assert look(store).waiting == {"stream": dict.fromkeys(names, 2)}
    called = release(store).run_ids
    assert sorted(called) == [f"{n}.0" for n in range(8)]


def test_a_run_that_is_gone_leaves_the_room(store: RunStore, client: redis.Redis) -> None:
    for run in "xyz":
        enter(store, run)
    release(store, limit=1)
    release(store, limit=0, gone=["x", "y", "nobody"])
    assert release(store).run_ids == ("z",)
    release(store, gone=["z"])
    view = look(store)
    assert (view.waiting, view.sent) == ({"stream": {}}, {"stream": 0})
    assert client.keys("*places*") == []


def test_each_kind_of_worker_has_a_room_and_both_share_the_limits(store: RunStore) -> None:
    stream, execute = limited(concurrency=1), Gate("default", "execute", 60, Limit(concurrency=1))
    assert admit(store, stream, "s").now
    assert not admit(store, execute, "e").now
    assert look(store, execute).waiting == {"execute": {"": 1}}
    assert look(store, stream).waiting == {"stream": {}}
    assert release(store, execute, ended=["s"]).run_ids == ("e",)


def test_other_credentials_are_other_gates(store: RunStore) -> None:
    pause(store, 30)
    assert admit(store, Gate("acme", "stream", 60, UNLIMITED)).now


def test_a_limit_can_be_changed_and_lifted(store: RunStore) -> None:
    admit(store, limited(concurrency=1), "a")
    assert not admit(store, limited(concurrency=1), "b").now
    assert release(store, limited(concurrency=2)).run_ids == ("b",)
    assert not admit(store, limited(concurrency=1), "c").now
    assert release(store, PLAIN).run_ids == ("c",)
    view = look(store)
    assert (view.concurrency, view.rate) == (None, None)


def test_the_turn_of_a_run_sets_its_deadline_anew(store: RunStore, client: redis.Redis) -> None:
    create(store)
    make_overdue(client)
    for _ in range(3):
        sweep(store)
        client.hset(keys.run("r"), "deadline", 1)
    called = store.perform(operations.turn("r", pickup=10))
    assert called
    assert called.request.flow == "acme/demo/two-step"
    view = store.perform(operations.show("r"))
    assert view.deadline
    assert 5 < view.deadline - time.time() <= 11
    lease = claimed(store)
    assert store.perform(operations.turn("r", pickup=10)) is None
    assert store.perform(operations.state("r")) is State.RUNNING
    end(store, lease, 2, Completed(1))
    assert store.perform(operations.turn("r", pickup=10)) is None
    assert store.perform(operations.state("nobody")) is None


@pytest.mark.parametrize("tenant", ["", "x" * 65, "a\nb", "a\x00", 7, "\ud800"])
def test_a_tenant_is_a_short_printable_name(tenant: object) -> None:
    with pytest.raises(InvalidRequest, match="tenant"):
        RunRequest.build(flow="acme/demo/two-step", tenant=tenant)
    assert RunRequest.build(flow="acme/demo/two-step", tenant="Jörg & Söhne #1").tenant == "Jörg & Söhne #1"


class World:
    """A gate with workers that do as they are told; checks every promise at every act."""

    def __init__(self, concurrency: int | None) -> None:
        self.client = fakeredis.FakeRedis()
        self.store = RunStore("redis://unused", client=self.client)
        self.gate = PLAIN if concurrency is None else limited(concurrency=concurrency)
        self.concurrency = concurrency or 1000
        self.entered: list[str] = []
        self.called: list[str] = []
        self.travelling: list[str] = []
        self.running: list[str] = []
        self.passed_by: dict[str, Counter[str]] = {}  # tenant that waits → who was called meanwhile

    def enter(self, tenant: str) -> None:
        self.entered.append(f"{tenant}{len(self.entered)}")
        assert enter(self.store, self.entered[-1], tenant) == ()

    def release(self, limit: int, ended: tuple[str, ...] = ()) -> None:
        for run in release(self.store, self.gate, limit=limit, ended=ended).run_ids:
            waiting = {one[0] for one in set(self.entered) - set(self.called)}
            self.called.append(run)
            self.travelling.append(run)
            self.passed_by.pop(run[0], None)
            for tenant in waiting - {run[0]}:
                passed = self.passed_by.setdefault(tenant, Counter())
                passed[run[0]] += 1
                assert passed[run[0]] == 1, "nobody is called twice while somebody waits"
        assert len(self.travelling) <= WINDOW

    def admit(self, n: int) -> None:
        if n < len(self.travelling):
            run = self.travelling.pop(n)
            assert admit(self.store, self.gate, run, run[0]).now
            self.running.append(run)
            assert len(self.running) <= self.concurrency

    def end(self, n: int) -> None:
        if n < len(self.running):
            self.release(1, (self.running.pop(n),))


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from("abcde")),
        st.tuples(st.just("release"), st.integers(1, 3)),
        st.tuples(st.just("admit"), st.integers(0, 7)),
        st.tuples(st.just("end"), st.integers(0, 7)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@hypothesis.given(ACTS, st.sampled_from([None, 1, 3]))
def test_whoever_comes_when_each_tenant_gets_its_turn_and_no_run_is_lost_or_called_twice(
    acts: list[tuple[str, Any]], concurrency: int | None
) -> None:
    world = World(concurrency)
    for kind, what in acts:
        getattr(world, kind)(what)
    while len(world.called) < len(world.entered) or world.travelling or world.running:
        world.release(3)
        world.admit(0)
        world.end(0)
    assert sorted(world.called) == sorted(world.entered)
    for tenant in "abcde":
        assert [run for run in world.called if run[0] == tenant] == [run for run in world.entered if run[0] == tenant]
    assert immortal(world.client) == []
    assert world.client.hlen(keys.gate("default", "stream:places")) == 0
