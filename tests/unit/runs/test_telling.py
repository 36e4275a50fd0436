"""Celery's result of a run, written behind the run's end: only by the attempt that has completed it."""

from __future__ import annotations

import pytest
import redis

from noukai_worker.runs import Lease, RunStore, operations, outcome
from noukai_worker.runs.outcome import Completed, GivenBack

from .words import claimed, create, end, make_overdue, sweep

pytestmark = pytest.mark.parametrize("client", ["fake", "real"], indirect=True)
KEY, VALUE = "celery-task-meta-r", b'{"status": "SUCCESS"}'


def tell(store: RunStore, lease: Lease) -> None:
    store.perform(operations.tell(lease, KEY, VALUE, lifetime=60))


def test_a_completed_run_is_told(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    bell = client.pubsub()
    bell.subscribe(KEY)
    assert bell.get_message(timeout=5)
    close = outcome.close(lease, lease.position, Completed("x"), pickup=10)
    assert store.perform_all((close, operations.tell(lease, KEY, VALUE, lifetime=60)))[1] is None
    assert client.get(KEY) == VALUE
    assert 0 < client.ttl(KEY) <= 60
    rung = bell.get_message(timeout=5)
    assert rung is not None
    assert rung["data"] == VALUE


def test_an_attempt_that_has_not_completed_the_run_tells_nothing(store: RunStore, client: redis.Redis) -> None:
    create(store)
    frozen = claimed(store, claim_id="frozen")
    tell(store, frozen)
    make_overdue(client)
    sweep(store)
    tell(store, frozen)
    other = claimed(store, claim_id="other")
    end(store, other, other.position, Completed("theirs"))
    tell(store, frozen)
    assert client.exists(KEY) == 0
    tell(store, other)
    assert client.exists(KEY) == 1


def test_a_run_that_was_given_back_or_is_gone_is_not_told(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    end(store, lease, lease.position, GivenBack())
    tell(store, lease)
    tell(store, Lease("another", 1, 1))
    assert client.exists(KEY) == 0
