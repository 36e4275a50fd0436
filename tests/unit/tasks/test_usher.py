"""The usher calls who waits, gives back what is not needed, and survives whatever one run, the broker or Redis does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest

from noukai_worker.errors import StoreUnavailable
from noukai_worker.runs import Failure, RunRequest, RunStore, answers, keys, operations, outcome
from noukai_worker.runs.operations import Gate
from noukai_worker.settings import UNLIMITED, Limit, Settings
from noukai_worker.tasks.usher import Usher, gate_of
from tests.support.leaks import immortal
from tests.unit.runs.words import claimed, create, end

SETTINGS = Settings(limits={"default": Limit(concurrency=1)}, credentials={})
GATE = gate_of(SETTINGS, "default", "stream")
TENANT = RunRequest.build(flow="acme/demo/two-step", tenant="acme")


@pytest.fixture
def client() -> Iterator[fakeredis.FakeRedis]:
    with contextlib.closing(fakeredis.FakeRedis()) as made:
        yield made
        assert immortal(made) == []


@pytest.fixture
def store(client: fakeredis.FakeRedis) -> RunStore:
    return RunStore("redis://unused", client=client)


@pytest.fixture
def sent() -> list[str]:
    return []


@pytest.fixture
def usher(store: RunStore, sent: list[str]) -> Usher:
    return Usher(SETTINGS, send=lambda unsent: sent.append(unsent.run_id), store=store)


def wait(store: RunStore, *run_ids: str, gate: Gate = GATE) -> None:
    for run_id in run_ids:
        create(store, run_id, TENANT)
        store.perform(operations.enter(gate, run_id, tenant="acme", again=False, pickup=10, limit=0))


def admit(store: RunStore, run_id: str, gate: Gate = GATE) -> answers.Admitted:
    return store.perform(operations.admit(gate, run_id, tenant="acme", again=False, lease=10))


def held(client: fakeredis.FakeRedis) -> list[bytes]:
    return client.zrange(keys.gate("default", "held"), 0, -1)


def test_the_gate_of_a_credential_has_its_limit_and_others_have_none() -> None:
    assert GATE.limit == Limit(concurrency=1)
    assert gate_of(SETTINGS, "acme", "execute") == Gate("acme", "execute", GATE.ttl, UNLIMITED)
    assert gate_of(SETTINGS, "acme", "job").room == "stream", "a job is asked after, not blocked in"


def test_a_permit_that_comes_back_calls_the_next(usher: Usher, store: RunStore, sent: list[str]) -> None:
    wait(store, "a", "b")
    usher.look(GATE)
    usher.round()
    assert sent == ["a"]
    assert admit(store, "a").now
    usher.hold(GATE, "a")
    usher.round()
    assert sent == ["a"]
    end(store, claimed(store, "a"), 2, outcome.Completed(1))
    usher.leave(GATE, "a")
    usher.round()
    assert sent == ["a", "b"]


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        (outcome.Completed(1), False),
        (outcome.Failed(Failure("x", "y")), False),
        (outcome.Retrying(Failure("x", "y"), 5), False),
        (outcome.Paused({}, 5), False),
        (outcome.GivenBack(), True),
        (None, True),  # another attempt has taken over
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_that_goes_on_elsewhere_keeps_its_permit(
    usher: Usher, store: RunStore, client: fakeredis.FakeRedis, how: outcome.Outcome | None, kept: bool
) -> None:
    create(store, "a", TENANT)
    admit(store, "a")
    usher.hold(GATE, "a")
    lease = claimed(store, "a")
    if how:
        end(store, lease, 2, how)
    usher.leave(GATE, "a")
    usher.round()
    assert held(client) == ([b"a"] if kept else [])


def test_a_claim_that_was_refused_gives_its_permit_back(
    usher: Usher, store: RunStore, client: fakeredis.FakeRedis
) -> None:
    create(store, "a", TENANT)
    admit(store, "a")
    usher.hold(GATE, "a")
    usher.leave(GATE, "a", refused=True)
    usher.round()
    assert held(client) == []


def test_permits_are_renewed_together(usher: Usher, store: RunStore, client: fakeredis.FakeRedis) -> None:
    admit(store, "a")
    usher.hold(GATE, "a")
    client.zadd(keys.gate("default", "held"), {"a": 1})
    assert usher.round() <= SETTINGS.lease / 3
    score = client.zscore(keys.gate("default", "held"), "a")
    assert score
    assert score > 1


def test_who_has_ended_while_waiting_makes_room(usher: Usher, store: RunStore, sent: list[str]) -> None:
    wait(store, "a", "b")
    store.perform(operations.cancel("a"))
    usher.look(GATE)
    usher.round()
    assert sent == ["b"]


def test_a_damaged_record_does_not_keep_the_others_waiting(
    usher: Usher, store: RunStore, client: fakeredis.FakeRedis, sent: list[str]
) -> None:
    wait(store, "a", "b")
    client.hset(keys.run("a"), "request", "{")
    usher.look(GATE)
    usher.round()
    assert sent == ["b"]


def test_a_broker_that_is_away_ends_nothing(store: RunStore, client: fakeredis.FakeRedis) -> None:
    def refuse(unsent: answers.Unsent) -> None:
        raise OSError("away")

    usher = Usher(SETTINGS, send=refuse, store=store)
    wait(store, "a")
    usher.look(GATE)
    usher.round()
    assert client.zcard(keys.gate("default", "stream:sent")) == 1, "it will be sent again"


def test_what_was_ordered_while_redis_was_away_is_done_when_it_is_back(store: RunStore) -> None:
    class Away:
        def __init__(self) -> None:
            self.away = True

        def perform(self, operation: Any) -> Any:
            if self.away:
                raise StoreUnavailable("redis://x", "away")
            return store.perform(operation)

    away = Away()
    usher = Usher(SETTINGS, send=lambda _: None, store=away)  # type: ignore[arg-type]
    create(store, "a", TENANT)
    admit(store, "a")
    usher.leave(GATE, "a", refused=True)
    usher.pause("default", 60)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            usher.round()
    away.away = False
    usher.round()
    view = store.perform(operations.look(GATE))
    assert view.held == 0
    assert view.paused_until


def test_a_credential_that_is_tended_is_looked_at_again_and_again(
    usher: Usher, store: RunStore, sent: list[str]
) -> None:
    usher.tend({"default"})
    assert usher.round() <= SETTINGS.sweep_interval
    wait(store, "a")
    usher._due.clear()
    usher.round()
    assert sent == ["a"]


def test_it_ends_when_it_is_told_to_and_does_what_was_ordered_before(
    store: RunStore, client: fakeredis.FakeRedis
) -> None:
    usher = Usher(SETTINGS, send=lambda _: None, store=store)
    create(store, "a", TENANT)
    admit(store, "a")
    usher.start()
    usher.leave(GATE, "a", refused=True)
    usher.stop()
    assert not usher.is_alive()
    assert held(client) == []
