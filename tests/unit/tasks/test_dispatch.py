"""Which messages are sent at once, and which when it is their run's turn."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest

from noukai_worker.runs import RunRequest, RunStore, operations
from noukai_worker.settings import UNLIMITED, Settings, adopt
from noukai_worker.tasks import dispatch

WINDOW = 8
GATE = operations.Gate("default", "stream", 60, UNLIMITED)


class Messages:
    """Stands for Celery's app: keeps what is published."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.again: list[bool] = []
        self.tasks = {"noukai.stream": SimpleNamespace(publish=self._publish)}

    def connection_for_write(self) -> Any:
        return SimpleNamespace(transport=SimpleNamespace(driver_type="redis"))

    def _publish(self, args: Any, kwargs: Any, run_id: str, options: Any) -> None:
        self.sent.append(run_id)
        self.again.append(bool(options["headers"].get(dispatch.AGAIN)))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    made = RunStore("redis://unused", client=fakeredis.FakeRedis())
    monkeypatch.setattr(dispatch, "shared", lambda _: made)
    adopt(Settings())
    yield made
    adopt(None)
    made.close()


def request(tenant: str | None) -> RunRequest:
    return RunRequest.build(flow="acme/demo/two-step", tenant=tenant)


def submit(app: Any, run_id: str, tenant: str | None = None) -> None:
    dispatch.submit(app, dispatch.Submission(run_id, request(tenant), 0.0, {}))


def test_a_run_without_a_tenant_is_sent_at_once(store: RunStore) -> None:
    app = Messages()
    submit(app, "a")
    assert (app.sent, app.again) == (["a"], [False])
    assert store.perform(operations.look(GATE)).sent == {"stream": 0}, "no gate has heard of it"


def test_a_tenants_runs_are_sent_until_enough_are_on_their_way(store: RunStore) -> None:
    app = Messages()
    for n in range(12):
        submit(app, f"{n}", "acme")
    assert app.sent == [f"{n}" for n in range(WINDOW)]
    assert store.perform(operations.look(GATE)).waiting == {"stream": {"acme": 4}}


def test_whoever_brings_a_run_sends_the_one_whose_turn_it_is(store: RunStore) -> None:
    app = Messages()
    for n in range(12):
        submit(app, f"{n}", "acme")
    store.perform(operations.admit(GATE, "0", tenant="acme", again=False, lease=10))
    submit(app, "b", "other")
    assert app.sent[WINDOW:] == ["8"]


def test_a_retry_of_a_tenant_waits_for_its_turn(store: RunStore) -> None:
    app = Messages()
    for n in range(12):
        submit(app, f"{n}", "acme")
    store.perform(operations.admit(GATE, "0", tenant="acme", again=False, lease=10))
    store.perform(operations.release(GATE, pickup=10))
    dispatch.send(app, "0", request("acme"), "{}")  # type: ignore[arg-type]
    assert app.sent.count("0") == 1
    assert store.perform(operations.look(GATE)).waiting == {"stream": {"acme": 4}}


def test_a_retry_without_a_tenant_is_sent_unless_it_waits(store: RunStore) -> None:
    app = Messages()
    submit(app, "a")
    dispatch.send(app, "a", request(None), "{}")  # type: ignore[arg-type]
    assert (app.sent, app.again) == (["a", "a"], [False, True])
    store.perform(operations.pause(GATE, 60))
    store.perform(operations.admit(GATE, "a", tenant=None, again=True, lease=10))
    dispatch.send(app, "a", request(None), "{}")  # type: ignore[arg-type]
    assert app.sent == ["a", "a"]
