"""Two operations in one act: the second is carried out if the first's answer allows it, and each sees only what is its own."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from noukai_worker.errors import RunNotFound
from noukai_worker.runs import Lease, RunStore, State, mirror, operations, outcome
from noukai_worker.runs.answers import Advanced, Claimed, Fenced, Refused
from noukai_worker.runs.operations import Gate
from noukai_worker.settings import UNLIMITED, Limit

from .words import claimed, create, log

RESULT = "noukai:{r}:result"
CLAIM = operations.claim("r", claim_id="c", lease=10, worker="w")


def admit(limit: Limit = UNLIMITED) -> operations.Operation[Any]:
    gate = Gate("default", "execute", ttl=60, limit=limit)
    return operations.admit(gate, "r", tenant=None, again=False, lease=10)


def tell(lease: Lease) -> operations.Operation[bool]:
    """The result in the slot of the run, so that a cluster takes it, too."""
    return operations.tell(lease, RESULT, b"1", lifetime=60)


def test_who_is_admitted_claims(store: RunStore) -> None:
    create(store)
    admitted, answer = store.perform(operations.chained(admit(), CLAIM))
    assert admitted.now
    assert isinstance(answer, Claimed)
    assert [entry.type for entry in log(store)] == ["run.queued", "run.started"]
    # Asked again, because the answer was lost: the same answer.
    assert store.perform(operations.chained(admit(), CLAIM)) == (admitted, answer)


def test_who_is_not_admitted_does_not_claim(store: RunStore) -> None:
    create(store)
    store.perform(operations.pause(Gate("default", "execute", ttl=60, limit=UNLIMITED), 30))
    admitted, answer = store.perform(operations.chained(admit(), CLAIM))
    assert not admitted.now
    assert answer is None
    assert [entry.type for entry in log(store)] == ["run.queued"]


def test_what_the_second_says_does_not_hide_the_first_answer(store: RunStore) -> None:
    admitted, answer = store.perform(operations.chained(admit(Limit(concurrency=1)), CLAIM))
    assert admitted.permit
    assert isinstance(answer, RunNotFound)
    create(store)
    store.perform(operations.cancel("r"))
    admitted, answer = store.perform(operations.chained(admit(Limit(concurrency=1)), CLAIM))
    assert admitted.permit
    assert answer == Refused(State.CANCELLED)


def test_an_end_is_told_and_a_fenced_one_is_not(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    stale = outcome.close(lease, lease.position - 1, outcome.Completed("x"), pickup=10)
    assert store.perform(operations.chained(stale, tell(lease))) == (Fenced(State.RUNNING), None)
    close = outcome.close(lease, lease.position, outcome.Completed("x"), pickup=10)
    assert store.perform(operations.chained(close, tell(lease))) == (Advanced(lease.position + 1), True)
    assert client.get(RESULT) == b"1"


def test_any_number_of_entries_goes_with_it(store: RunStore) -> None:
    create(store)
    lease = claimed(store)
    progress = outcome.Progress([operations.entry("note", {"n": n}) for n in range(5_000)])
    keep = outcome.keep(lease, lease.position, progress, extend=10)
    answer, told = store.perform(operations.chained(keep, tell(lease)))
    assert (answer, told) == (Advanced(lease.position + 5_000), False)


def test_on_a_cluster_they_are_made_one_after_the_other() -> None:
    away = ConnectionError("away")
    for answers, calls in (((), ["gate_admit"]), (([1, 0, 0, 0],), ["gate_admit", "foretell"])):
        steps = mirror.steps(operations.chained(admit(), CLAIM))
        made = [call.script.name for call in next(steps)]
        for answer in answers:
            made += [call.script.name for call in steps.send([answer])]
        assert made == calls
        with pytest.raises(StopIteration) as end:
            steps.send([away])
        assert end.value.value is away
