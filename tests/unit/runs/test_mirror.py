"""On a cluster what all runs share is written beside the runs: whoever dies between two writes leaves nothing forgotten (law 5)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from noukai_worker.redis_url import RedisUrl
from noukai_worker.runs import RunStore, State, keys, mirror, operations
from noukai_worker.runs import cluster as nodes
from noukai_worker.runs.model import Failure
from noukai_worker.runs.operations import Operation
from noukai_worker.runs.outcome import Completed, Failed, Paused, Retrying
from tests.support.cluster import AsOneServer, Cluster
from tests.unit.runs.words import LIMITS, REQUEST, claimed, create, end, make_overdue, sweep


@dataclass
class Place:
    """A cluster, and how it is looked at."""

    store: RunStore
    client: AsOneServer
    calls: nodes.Cluster
    wanted: list[mirror.Call] = field(default_factory=list)
    """What the operation that was begun last wants next."""

    def entry(self, run_id: str = "r") -> float | None:
        return self.client.zscore(keys.DEADLINES, run_id)

    def deadline(self, run_id: str = "r") -> float:
        """What the run itself says; 0 if nobody has to look at it."""
        return float(self.client.hget(keys.run(run_id), "deadline") or 0)

    def begin(self, operation: Operation[Any], calls: int) -> mirror.Steps:
        """Make the first calls of an operation; what is left of it."""
        steps = mirror.steps(operation)
        wanted = next(steps)
        for _ in range(calls):
            wanted = steps.send(self.calls.make(wanted))
        self.wanted = wanted
        return steps

    def finish(self, steps: mirror.Steps) -> Any:
        wanted = self.wanted
        while True:
            try:
                wanted = steps.send(self.calls.make(wanted))
            except StopIteration as end:
                return end.value


@pytest.fixture
def place(real_cluster: Cluster) -> Iterator[Place]:
    with (
        contextlib.closing(AsOneServer(real_cluster.url)) as client,
        contextlib.closing(RunStore(real_cluster.url)) as store,
        contextlib.closing(nodes.Cluster(RedisUrl.parse(real_cluster.url), 10)) as calls,
    ):
        client.flushall()
        yield Place(store, client, calls)


def queued(place: Place) -> None:
    create(place.store)


def running(place: Place) -> None:
    create(place.store)
    claimed(place.store)


def ended(how: Any) -> Callable[[Place], None]:
    def state(place: Place) -> None:
        create(place.store)
        lease = claimed(place.store)
        end(place.store, lease, lease.position, how)

    return state


def nobody(place: Place) -> None:
    """No run at all."""


FAILED = Failed(Failure("code", "message"))
PAUSED = Paused({"step_id": "s", "execution_id": "e", "tool_calls": []}, 100)
CREATE = operations.create("r", REQUEST, **LIMITS)
CLAIM = operations.claim("r", claim_id="c2", lease=10, worker="w")


def advance(to: State, wait: float = 1.0) -> Operation[Any]:
    from noukai_worker.runs import Lease

    kind = {State.COMPLETED: "run.completed", State.FAILED: "run.failed"}.get(to, "run.retrying")
    return operations.advance(
        Lease("r", 1, 2), position=2, extend=10, entries=[operations.entry(kind, {"result": 1})], to=to, wait=wait
    )


ACTS = [
    pytest.param(nobody, CREATE, id="create"),
    pytest.param(nobody, operations.create("r", REQUEST, delay=60, **LIMITS), id="create-delayed"),
    pytest.param(queued, CREATE, id="create-again"),
    pytest.param(queued, CLAIM, id="claim"),
    pytest.param(running, CLAIM, id="claim-refused"),
    pytest.param(ended(Completed(1, None)), CLAIM, id="claim-too-late"),
    pytest.param(running, advance(State.RETRYING), id="retry"),
    pytest.param(running, advance(State.QUEUED), id="give-back"),
    pytest.param(running, advance(State.COMPLETED), id="complete"),
    pytest.param(running, advance(State.FAILED), id="fail"),
    pytest.param(queued, operations.cancel("r"), id="cancel"),
    pytest.param(ended(PAUSED), operations.resume("r", position=3, results=[], pickup=10), id="resume"),
    pytest.param(ended(FAILED), operations.redrive("r", pickup=10), id="redrive"),
    pytest.param(
        ended(Retrying(Failure("c", "m"), 30)), operations.overdue("r", pickup=1, lease=1), id="overdue-early"
    ),
    pytest.param(running, operations.unsent("r", pickup=1), id="unsent"),
]


@pytest.mark.parametrize("calls", [1, 2], ids=["foretold", "written"])
@pytest.mark.parametrize(("before", "operation"), ACTS)
def test_who_dies_between_two_writes_leaves_an_entry_that_is_early_and_a_sweeper_settles_it(
    place: Place, before: Callable[[Place], None], operation: Operation[Any], calls: int
) -> None:
    before(place)
    place.begin(operation, calls)
    deadline = place.deadline()
    if deadline:
        assert place.entry() is not None, "an unfinished run has an entry"
        assert place.entry() <= deadline, "and it is not late"  # type: ignore[operator]
    sweep(place.store)
    assert (place.entry() or 0) == place.deadline()
    failed = place.client.hget(keys.run("r"), "state") == b"failed"
    assert place.store.perform(operations.dead()) == (("r",) if failed else ())


@pytest.mark.parametrize(("before", "operation"), ACTS)
def test_who_lives_leaves_the_exact_entry(
    place: Place, before: Callable[[Place], None], operation: Operation[Any]
) -> None:
    before(place)
    steps = place.begin(operation, 0)
    place.finish(steps)
    assert (place.entry() or 0) == place.deadline()


def test_an_overdue_run_whose_sweeper_dies_is_found_by_the_next_one(place: Place) -> None:
    for calls in (1, 2):
        place.client.flushall()
        running(place)
        make_overdue(place.client)  # type: ignore[arg-type]
        place.begin(operations.overdue("r", pickup=10, lease=10), calls)
        assert place.store.perform(operations.due(10, lease=10)).run_ids == ("r",)


def test_an_end_that_is_settled_late_does_not_take_the_entry_of_what_came_after(place: Place) -> None:
    running(place)
    steps = place.begin(advance(State.FAILED), 2)
    place.store.perform(operations.redrive("r", pickup=10))
    place.finish(steps)
    assert place.entry() == place.deadline() > 0


def test_an_end_that_is_settled_late_does_not_take_the_entry_of_who_died_after_it(place: Place) -> None:
    running(place)
    steps = place.begin(advance(State.FAILED), 2)
    wanted = place.wanted
    place.begin(operations.redrive("r", pickup=10), 2)
    place.wanted = wanted
    place.finish(steps)
    assert place.entry() is not None
    assert place.entry() <= place.deadline()  # type: ignore[operator]


def test_a_claim_that_is_settled_after_another_act_still_makes_the_entry_earlier(place: Place) -> None:
    queued(place)
    make_overdue(place.client)  # type: ignore[arg-type]
    steps = place.begin(operations.claim("r", claim_id="c", lease=2, worker="w"), 1)
    wanted = place.wanted
    assert sweep(place.store), "the sweeper sends the message again, and looks again in 20 s"
    place.wanted = wanted
    place.finish(steps)
    assert place.entry() == place.deadline()


def test_a_lease_that_is_kept_costs_one_call_until_the_deadline_moves(place: Place) -> None:
    from noukai_worker.runs import Lease

    running(place)
    entry = operations.entry("step_output", {})
    for n, extend in enumerate((10, 60)):
        write = operations.advance(Lease("r", 1, 2), position=2 + n, extend=extend, entries=[entry])
        steps = mirror.steps(write)
        wanted, made = next(steps), []
        with contextlib.suppress(StopIteration):
            while True:
                made.append(wanted[0].script.name)
                wanted = steps.send(place.calls.make(wanted))
        assert made == (["advance"], ["advance", "settle"])[n]
        assert place.entry() == place.deadline()


def test_a_settlement_that_does_not_get_through_is_not_the_operations_failure(place: Place) -> None:
    queued(place)
    steps = place.begin(CLAIM, 2)
    with pytest.raises(StopIteration) as end:
        steps.send([RedisConnectionError("away")])
    assert end.value.value[0] == b"claimed"


def test_nothing_is_written_that_could_not_be_foretold() -> None:
    steps = mirror.steps(CLAIM)
    next(steps)
    away = RedisConnectionError("away")
    with pytest.raises(StopIteration) as end:
        steps.send([away])
    assert end.value.value is away


def test_sweepers_do_with_the_parts_they_reach_and_lists_do_not() -> None:
    away = RedisConnectionError("away")
    due, recent = mirror.steps(operations.due(10, lease=1)), mirror.steps(operations.recent())
    for steps in (due, recent):
        assert len(next(steps)) == keys.SHARDS
    with pytest.raises(StopIteration) as end:
        due.send([away] + [[[f"r{n}"], n, 0] for n in range(keys.SHARDS - 1)])
    assert end.value.value == ([f"r{n}" for n in range(keys.SHARDS - 1)], 0, 0)
    with pytest.raises(StopIteration) as end:
        recent.send([away] + [[b"r", 1.0]] * (keys.SHARDS - 1))
    assert end.value.value is away, "a shorter list would look whole (law 7)"


def test_a_list_is_one_whatever_parts_it_is_in(place: Place) -> None:
    ids = [f"run-{n}" for n in range(40)]
    for n, run_id in enumerate(ids):
        create(place.store, run_id)
        place.client.zadd(keys.INDEX, {run_id: n + 1e13})
    newest = tuple(reversed(ids))
    assert place.store.perform(operations.recent(limit=7)) == newest[:7]
    assert place.store.perform(operations.recent(offset=7, limit=40)) == newest[7:]


def test_an_operation_that_forgets_whose_run_it_is_is_a_mistake_that_is_seen() -> None:
    careless = Operation("cancel", (keys.run("r"), keys.DEADLINES), (), lambda answer: answer)
    with pytest.raises(TypeError, match="cancel"):
        next(mirror.steps(careless))
