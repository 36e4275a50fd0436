"""What the tests of the store say in one word."""

from __future__ import annotations

from typing import Any

import redis

from noukai_worker.runs import Entry, Lease, RunRequest, RunStore, answers, keys, operations, outcome
from noukai_worker.runs.answers import Advanced, Claimed, Ended, Fenced, Refused, Unsent
from noukai_worker.runs.outcome import Progress

REQUEST = RunRequest.build(flow="acme/demo/two-step", message="hi")
LIMITS: dict[str, Any] = {
    "token": "secret",
    "retention": 60,
    "pickup": 10,
    "max_attempts": 3,
    "max_age": 100,
    "max_entries": 1000,
}


def create(store: RunStore, run_id: str = "r", request: RunRequest = REQUEST, **changes: Any) -> answers.Created:
    return store.perform(operations.create(run_id, request, **(LIMITS | changes)))


def claim(store: RunStore, run_id: str = "r", claim_id: str = "c", lease: float = 10) -> Claimed | Refused:
    return store.perform(operations.claim(run_id, claim_id=claim_id, lease=lease, worker="w"))


def claimed(store: RunStore, run_id: str = "r", lease: float = 10, claim_id: str = "c") -> Lease:
    answer = claim(store, run_id, claim_id, lease)
    assert isinstance(answer, Claimed)
    return answer.lease


def log(store: RunStore, run_id: str = "r") -> tuple[Entry, ...]:
    return store.perform(operations.read(run_id, after=0, limit=10_000)).entries


def write(store: RunStore, lease: Lease, position: int, *types: str, **checkpoint: Any) -> Advanced | Fenced:
    progress = Progress([operations.entry(kind, {"n": n}) for n, kind in enumerate(types)], **checkpoint)
    return store.perform(outcome.keep(lease, position, progress, extend=10))


def end(store: RunStore, lease: Lease, position: int, how: outcome.Outcome) -> Advanced | Fenced:
    return store.perform(outcome.close(lease, position, outcome.readable(how), pickup=10))


def sweep(store: RunStore, run_id: str = "r", *, patient: bool = False) -> Unsent | Ended | None:
    return store.perform(operations.overdue(run_id, pickup=10, lease=10, patient=patient))


def make_overdue(client: redis.Redis, run_id: str = "r") -> None:
    client.hset(keys.run(run_id), mapping={"deadline": 1})
    client.zadd(keys.DEADLINES, {run_id: 1})


def given(store: RunStore, claim_id: str = "c", run_id: str = "r") -> Claimed:
    """What a worker is told that claims the run."""
    answer = claim(store, run_id, claim_id)
    assert isinstance(answer, Claimed)
    return answer
