"""The right to write to a run, held by a thread that blocks: renewed, confirmed, lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import fakeredis
import pytest

from noukai_worker.runs import Failure, RunRequest, RunStore, State, operations, outcome
from noukai_worker.runs.answers import Claimed
from noukai_worker.runs.scripts import load
from noukai_worker.stream import LeaseLost
from noukai_worker.tasks.leases import HeldCall

ENTRY = outcome.Progress([operations.entry("note", {})])


@pytest.fixture
def client() -> Iterator[fakeredis.FakeRedis]:
    with contextlib.closing(fakeredis.FakeRedis()) as client:
        yield client


@pytest.fixture
def store(client: fakeredis.FakeRedis) -> RunStore:
    store = RunStore("redis://unused", client=client)
    request = RunRequest.build(flow="acme/demo/x", mode="execute")
    limits = {"retention": 60, "pickup": 10, "max_attempts": 3, "max_age": 100, "max_entries": 100}
    store.perform(operations.create("r", request, token="t", **limits))  # type: ignore[arg-type]
    return store


class Holder:
    """A thread that holds the run."""

    def __init__(self, store: RunStore, extend: float = 10) -> None:
        claimed = store.perform(operations.claim("r", claim_id="c", lease=10, worker="w"))
        assert isinstance(claimed, Claimed)
        self.losses = 0
        self.held = HeldCall(store, claimed.lease, extend=extend, on_loss=self.lose)

    def lose(self) -> None:
        self.losses += 1


def types(store: RunStore, run_id: str = "r") -> list[str]:
    return [entry.type for entry in store.perform(operations.read(run_id, after=0, limit=100)).entries]


def test_a_renewal_between_two_writes_knows_where_the_log_ends(store: RunStore) -> None:
    holder = Holder(store)
    holder.held.append(ENTRY)
    holder.held.renew()
    holder.held.append(ENTRY)
    holder.held.close(outcome.Completed("done"), pickup=10)
    assert types(store) == ["run.queued", "run.started", "note", "note", "run.completed"]
    assert holder.losses == 0


def test_celery_is_told_with_the_end_whatever_redis_has_forgotten(client: fakeredis.FakeRedis, store: RunStore) -> None:
    holder = Holder(store)
    # As after a restart, while another thread is just sending the scripts again.
    client.script_flush()
    client.script_load(load("tell").text)
    telling = operations.tell(holder.held.lease, "result", b"1", lifetime=60)
    assert holder.held.close(outcome.Completed("done"), pickup=10, telling=telling) is True
    assert types(store)[-1] == "run.completed"
    assert client.get("result") == b"1"


def test_of_no_other_end_is_celery_told(client: fakeredis.FakeRedis, store: RunStore) -> None:
    holder = Holder(store)
    telling = operations.tell(holder.held.lease, "result", b"1", lifetime=60)
    assert holder.held.close(outcome.Retrying(Failure("a", "b"), 0.0), pickup=10, telling=telling) is False
    assert client.exists("result") == 0


def test_a_lost_lease_is_told_once_and_nothing_is_written(store: RunStore) -> None:
    holder = Holder(store)
    store.perform(operations.cancel("r"))
    holder.held.renew()
    holder.held.renew()
    assert holder.losses == 1
    assert holder.held.lost
    assert holder.held.lost.state is State.CANCELLED
    for write in (
        lambda: holder.held.append(ENTRY),
        lambda: holder.held.close(outcome.Failed(Failure("a", "b")), pickup=10),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert types(store)[-1] == "run.cancelled"


def test_after_a_long_silence_the_lease_is_confirmed_before_a_call(store: RunStore) -> None:
    """A worker that was frozen must not pay for what another one has taken up."""
    sleepy, awake = Holder(store, extend=1e-9), HeldCall(store, Holder(store).held.lease, extend=1e9, on_loss=print)
    store.perform(operations.cancel("r"))
    with pytest.raises(LeaseLost):
        sleepy.held.confirm()
    awake.confirm()  # it was heard a moment ago, and saves the trip


def test_what_has_ended_is_not_renewed(store: RunStore) -> None:
    holder = Holder(store)
    holder.held.close(outcome.Completed("done"), pickup=10)
    holder.held.renew()
    assert holder.losses == 0


def test_a_write_that_takes_long_does_not_keep_the_leases_of_others_from_being_renewed(store: RunStore) -> None:
    """One thread renews all; a run that is writing is heard by that."""
    writing, go_on = threading.Event(), threading.Event()
    holder = Holder(SlowStore(store, writing, go_on))
    writer = threading.Thread(target=lambda: holder.held.append(ENTRY))
    writer.start()
    assert writing.wait(10)
    renewing = threading.Thread(target=holder.held.renew, daemon=True)
    renewing.start()
    renewing.join(10)
    assert not renewing.is_alive()
    go_on.set()
    writer.join()
    assert types(store)[-1] == "note"


class SlowStore(RunStore):
    """One whose writes take until they may go on."""

    def __init__(self, store: RunStore, writing: threading.Event, go_on: threading.Event) -> None:
        self._store, self._writing, self._go_on = store, writing, go_on

    def perform(self, operation: operations.Operation[operations.T]) -> operations.T:
        if operation.script == "advance":
            self._writing.set()
            assert self._go_on.wait(20)
        return self._store.perform(operation)
