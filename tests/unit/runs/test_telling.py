"""Celery's result of a run, written behind the run's end: only by the attempt that has completed it."""

from __future__ import annotations

import pytest
import redis

from noukai_worker.runs import Lease, RunStore, operations, outcome
from noukai_worker.runs.answers import Advanced
from noukai_worker.runs.outcome import Completed, GivenBack
from noukai_worker.runs.scripts import load

from .words import claimed, create, end, make_overdue, sweep

pytestmark = pytest.mark.parametrize("client", ["fake", "real"], indirect=True)
KEY, VALUE = "celery-task-meta-r", b'{"status": "SUCCESS"}'


def tell(store: RunStore, lease: Lease) -> bool:
    return store.perform(operations.tell(lease, KEY, VALUE, lifetime=60))


def test_a_completed_run_is_told(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    bell = client.pubsub()
    bell.subscribe(KEY)
    assert bell.get_message(timeout=5)
    close = outcome.close(lease, lease.position, Completed("x"), pickup=10)
    assert store.perform_all((close, operations.tell(lease, KEY, VALUE, lifetime=60)))[1] is True
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
    assert tell(store, frozen) is False
    assert client.exists(KEY) == 0
    assert tell(store, other) is True
    assert client.exists(KEY) == 1


def test_a_run_that_was_given_back_or_is_gone_is_not_told(store: RunStore, client: redis.Redis) -> None:
    create(store)
    lease = claimed(store)
    end(store, lease, lease.position, GivenBack())
    tell(store, lease)
    tell(store, Lease("another", 1, 1))
    assert client.exists(KEY) == 0


def test_it_is_known_if_the_run_s_end_came_behind_it(store: RunStore, client: redis.Redis) -> None:
    """As when Redis has forgotten one of the two scripts, which is then sent again."""
    create(store)
    lease = claimed(store)
    client.script_flush()
    client.script_load(load("tell").text)
    close = outcome.close(lease, lease.position, Completed("x"), pickup=10)
    closed, told = store.perform_all((close, operations.tell(lease, KEY, VALUE, lifetime=60)))
    assert isinstance(closed, Advanced)
    assert told is bool(client.exists(KEY))
    assert told is False
