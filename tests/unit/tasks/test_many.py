"""Many runs at once: checked before anything is written, recorded before they are sent, and none is lost in the middle."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import pytest
import redis
from amqp.exceptions import RecoverableConnectionError
from celery import Celery, Task
from celery._state import _task_stack
from kombu.exceptions import OperationalError

from noukai_worker import enqueue, enqueue_many
from noukai_worker.errors import (
    EnqueuedInPart,
    IdempotencyConflict,
    InvalidRequest,
    PayloadTooLarge,
    StoreUnavailable,
)
from noukai_worker.runs import RunStore, State, keys, operations
from noukai_worker.settings import Settings, adopt
from noukai_worker.tasks import app as apps
from noukai_worker.tasks import dispatch, many, trains

FLOW = "acme/demo/two-step"


class Shop:
    """An application that enqueues: its runs are in fakeredis, its messages in a queue in memory."""

    def __init__(self, app: Celery, server: redis.Redis) -> None:
        self.app, self.redis = app, server
        self.store = RunStore("redis://unused", client=server)

    def messages(self) -> list[Any]:
        """What was sent, taken from the queue."""
        with self.app.connection_for_read() as connection, connection.SimpleQueue("noukai.stream") as queue:
            return [queue.get(block=False) for _ in range(queue.qsize())]

    def sent(self) -> list[str]:
        return [message.headers["id"] for message in self.messages()]

    def runs(self) -> int:
        return len(self.redis.keys("noukai:{*}:log"))


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    app = apps.configure(Celery("shop", set_as_current=False, broker="memory://"), Settings())
    made = Shop(app, fakeredis.FakeRedis())
    for room in (dispatch, many):
        monkeypatch.setattr(room, "shared", lambda _: made.store)
    monkeypatch.setattr(many, "_RUNS", 3)
    monkeypatch.setattr(trains, "_PAUSES", (0.0, 0.0))
    made.messages()
    yield made
    made.messages()
    apps._configured.clear()
    adopt(None)


def failing(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, after: int, error: Exception) -> None:
    """From the call `after` on, a method of somebody else's fails."""
    real, calls = getattr(owner, name), 0

    def method(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, method)


def test_runs_are_recorded_and_sent_in_order(shop: Shop) -> None:
    runs = enqueue_many(({"flow": FLOW, "message": str(n)} for n in range(7)), metadata={"lesson": 3})
    assert [run.new for run in runs] == [True] * 7
    assert shop.sent() == [run.id for run in runs]
    view = shop.store.perform(operations.show(runs[4].id))
    assert (view.state, view.metadata, view.token) == (State.QUEUED, {"lesson": 3}, runs[4].token)


def test_a_message_is_what_celery_would_send(shop: Shop) -> None:
    (run,) = enqueue_many([{"flow": FLOW, "message": "x", "priority": 3}])
    (ours,) = shop.messages()
    task = shop.app.tasks["noukai.stream"]
    options = {"headers": {dispatch.RECORDED: True}, "priority": 3}
    Task.apply_async(task, (FLOW,), {"message": "x"}, task_id=run.id, **options)
    (theirs,) = shop.messages()
    assert ours.headers == theirs.headers
    assert ours.payload == theirs.payload
    own = {"delivery_tag"}
    assert {n: v for n, v in ours.properties.items() if n not in own} == {
        n: v for n, v in theirs.properties.items() if n not in own
    }


@pytest.mark.parametrize("priority", [None, 3])
def test_a_message_alone_is_what_celery_would_send(shop: Shop, priority: int | None) -> None:
    run = enqueue(FLOW, message="x", priority=priority)
    (ours,) = shop.messages()
    options = {"headers": {dispatch.RECORDED: True}} | ({} if priority is None else {"priority": priority})
    Task.apply_async(shop.app.tasks["noukai.stream"], (FLOW,), {"message": "x"}, task_id=run.id, **options)
    (theirs,) = shop.messages()
    assert (ours.headers, ours.payload) == (theirs.headers, theirs.payload)
    own = {"delivery_tag"}
    assert {n: v for n, v in ours.properties.items() if n not in own} == {
        n: v for n, v in theirs.properties.items() if n not in own
    }


@pytest.mark.parametrize("count", [1, 3])
def test_who_has_wrapped_apply_async_sees_every_message(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    seen = []
    celerys = Task.apply_async

    @functools.wraps(celerys)
    def wrapped(self: Task, *args: Any, **options: Any) -> Any:
        seen.append(options["task_id"])
        return celerys(self, *args, **options)

    monkeypatch.setattr(Task, "apply_async", wrapped)
    runs = [enqueue(FLOW)] if count == 1 else enqueue_many([{}] * count, flow=FLOW)
    assert seen == [run.id for run in runs]
    assert len(shop.messages()) == count


def test_a_message_with_links_is_celerys(shop: Shop) -> None:
    task = shop.app.tasks["noukai.stream"]
    task.apply_async((FLOW,), link=task.si(FLOW, message="next"))
    (message,) = shop.messages()
    _, _, embedded = message.payload
    assert [link["kwargs"] for link in embedded["callbacks"]] == [{"message": "next"}]


def test_a_message_sent_within_a_task_has_a_parent(shop: Shop) -> None:
    task = shop.app.tasks["noukai.stream"]
    task.push_request(id="outer", root_id="root", called_directly=False, children=[])
    _task_stack.push(task)
    try:
        run = enqueue(FLOW)
    finally:
        _task_stack.pop()
        task.pop_request()
    (message,) = shop.messages()
    assert message.headers["id"] == run.id
    assert (message.headers["parent_id"], message.headers["root_id"]) == ("outer", "root")


@pytest.mark.parametrize(("failures", "sent"), [(1, 1), (2, 0)])
def test_a_message_alone_is_tried_again_on_a_new_connection(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failures: int, sent: int
) -> None:
    channel = shop.app.connection_for_write().transport.Channel
    put, left = channel._put, failures

    def _put(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise RecoverableConnectionError("the broker is gone")
        return put(*args, **kwargs)

    monkeypatch.setattr(channel, "_put", _put)
    run = enqueue(FLOW)
    assert len(shop.sent()) == sent
    assert shop.redis.zrange(keys.DEADLINES, 0, -1) == [run.id.encode()], "recorded, and looked after"


def test_what_a_request_says_goes_before_what_all_say(shop: Shop) -> None:
    runs = enqueue_many([{}, {"flow": "acme/demo/other"}], flow=FLOW, message="x")
    flows = [shop.store.perform(operations.show(run.id)).flow for run in runs]
    assert flows == [FLOW, "acme/demo/other"]


def test_nothing_gives_nothing(shop: Shop) -> None:
    assert enqueue_many([]) == []


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        ({"flow": "nonsense"}, InvalidRequest, r"requests\[5\]: flow"),
        ({"flow": FLOW, "delay": -1}, InvalidRequest, r"requests\[5\]: delay"),
        ({"flow": FLOW, "priority": 10}, InvalidRequest, r"requests\[5\]: priority"),
        ({"flow": FLOW, "idempotency_key": ""}, InvalidRequest, r"requests\[5\]: an idempotency key"),
        ({"flow": FLOW, "unheard_of": 1}, InvalidRequest, r"requests\[5\]: unheard_of"),
        ({"message": "no flow"}, InvalidRequest, r"requests\[5\]: flow"),
        ({"flow": FLOW, "message": "x" * 1_000_001}, PayloadTooLarge, r"requests\[5\]: 1,000"),
        ("acme/demo/two-step", InvalidRequest, r"requests\[5\]: write it as a mapping"),
    ],
)
def test_all_are_checked_before_anything_is_written(shop: Shop, wrong: Any, kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text):
        enqueue_many([*[{"flow": FLOW}] * 5, wrong])
    assert shop.redis.keys("*") == []
    assert shop.sent() == []


def test_one_idempotency_key_for_all_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidRequest, match="one run's"):
        enqueue_many([{"flow": FLOW}], idempotency_key="k")


def test_the_same_key_is_the_same_run_and_sent_once(shop: Shop) -> None:
    first, other, again = enqueue_many([{"idempotency_key": key} for key in "kak"], flow=FLOW)
    assert (first.id, first.token, again.new) == (again.id, again.token, False)
    assert shop.sent() == [first.id, other.id]
    assert [run.new for run in enqueue_many([{"idempotency_key": "a"}], flow=FLOW)] == [False]
    assert shop.sent() == []


def test_a_delayed_run_has_no_message_yet(shop: Shop) -> None:
    now, later = enqueue_many([{}, {"delay": 60}], flow=FLOW)
    assert shop.sent() == [now.id]
    assert shop.store.perform(operations.show(later.id)).state is State.QUEUED


def test_a_tenants_runs_wait_for_their_turn(shop: Shop) -> None:
    runs = enqueue_many([{"tenant": "acme"}] * 12 + [{}], flow=FLOW)
    sent = shop.sent()
    assert sorted(sent) == sorted([run.id for run in runs[:8]] + [runs[12].id])


def test_what_is_not_sent_is_left_to_a_sweeper(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = shop.app.connection_for_write().transport.Channel
    failing(monkeypatch, channel, "_put", after=4, error=OperationalError("the broker is gone"))
    runs = enqueue_many([{"message": str(n)} for n in range(7)], flow=FLOW)
    assert len(runs) == shop.runs() == 7, "a broker's failure is nobody's loss"
    waiting = {member.decode() for member in shop.redis.zrange(keys.DEADLINES, 0, -1)}
    assert waiting == {run.id for run in runs}, "a sweeper looks after each"


def test_a_store_that_goes_away_in_the_middle(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    trip: Callable[..., Any] = shop.store._server.make
    trips = 0

    def make(calls: Any) -> Any:
        nonlocal trips
        trips += 1
        return trip(calls) if trips == 1 else [redis.ConnectionError("gone")] * len(calls)

    monkeypatch.setattr(shop.store._server, "make", make)
    with pytest.raises(EnqueuedInPart, match=r"3 of 8 .* requests\[3\]") as caught:
        enqueue_many([{"message": str(n)} for n in range(8)], flow=FLOW)
    error = caught.value
    known = [run_id for run_id in error.run_ids if run_id]
    assert error.run_ids[3:] == [None] * 5
    assert shop.sent() == known
    assert isinstance(error.__cause__, StoreUnavailable)
    assert trips == 2, "what comes after is not tried"


def test_a_conflict_keeps_nothing_else_back(shop: Shop) -> None:
    (first,) = enqueue_many([{"idempotency_key": "k", "message": "a"}], flow=FLOW)
    with pytest.raises(EnqueuedInPart) as caught:
        enqueue_many([{}, {"idempotency_key": "k", "message": "b"}, {}], flow=FLOW)
    assert [run_id is None for run_id in caught.value.run_ids] == [False, True, False]
    assert shop.sent() == [first.id, caught.value.run_ids[0], caught.value.run_ids[2]]
    with pytest.raises(IdempotencyConflict):
        enqueue_many([{"idempotency_key": "k", "message": "b"}], flow=FLOW)


def test_a_server_that_has_forgotten_the_scripts(shop: Shop) -> None:
    enqueue_many([{}], flow=FLOW)
    shop.redis.script_flush()
    assert len(enqueue_many([{}] * 2, flow=FLOW)) == 2
    assert shop.runs() == 3


def test_an_eager_app_runs_them_here(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    task = shop.app.tasks["noukai.stream"]
    monkeypatch.setattr(type(task), "apply", lambda self, args, kwargs, task_id, **_: done.append(task_id))
    shop.app.conf.task_always_eager = True
    runs = enqueue_many([{}] * 2, flow=FLOW)
    assert done == [run.id for run in runs]
