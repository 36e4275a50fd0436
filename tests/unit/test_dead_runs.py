"""Which runs are meant by `since`, flow and code; on fakeredis, where the rest of the store's tests are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import fakeredis
import pytest

from noukai_worker import dead_runs
from noukai_worker.dead_runs import dead, moment
from noukai_worker.errors import InvalidRequest
from noukai_worker.runs import Failure, RunRequest, RunStore, keys
from noukai_worker.runs.outcome import Failed
from tests.unit.runs.words import claimed, create, end

NOON = 1_795_608_000.0


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        (None, 0),
        (0, 0),
        (NOON, NOON),
        (datetime(2026, 11, 25, 12, tzinfo=UTC), NOON),
        (datetime(2026, 11, 25, 14, tzinfo=timezone(timedelta(hours=2))), NOON),
        ("2026-11-25T12:00Z", NOON),
        ("2026-11-25T14:00:00.5+02:00", NOON + 0.5),
        (" 1795608000 ", NOON),
        ("1795608000.25", NOON + 0.25),
        ("99999999d", 0),
    ],
)
def test_a_moment_may_be_said_in_many_ways(since: Any, seconds: float) -> None:
    assert moment(since) == seconds


@pytest.mark.parametrize(
    ("text", "ago"), [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1.5h", 5_400), ("7d", 604_800)]
)
def test_or_as_how_long_ago(text: str, ago: int) -> None:
    before = time.time() - ago
    assert before <= moment(text) <= time.time() - ago


@pytest.mark.parametrize(
    "since",
    ["", "yesterday", "2x", "-2h", "2h30m", "2026-11-25T12:00", "2026-11-25", "\u0662h", True, -1, float("nan"), [1],
     datetime.fromisoformat("2026-11-25")],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_a_remedy(since: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"since: .*2026-11-24T10:00Z"):
        moment(since)


@pytest.fixture
def client() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def store(client: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """The store that this process has."""
    store = RunStore("redis://unused", client=client)
    monkeypatch.setattr(dead_runs, "shared", lambda _: store)
    yield store
    store.close()


def fail(store: RunStore, client: fakeredis.FakeRedis, run_id: str, flow: str, code: str, at: float) -> None:
    create(store, run_id, RunRequest.build(flow=flow))
    end(store, claimed(store, run_id), 2, Failed(Failure(code, "it broke")))
    client.zadd(keys.DEAD, {run_id: at * 1000})


def test_a_filtered_list_is_filled_from_as_many_pages_as_it_takes(store: RunStore, client: fakeredis.FakeRedis) -> None:
    soon = float(int(time.time()))
    for n in range(1, 261):
        flow, code = "acme/demo/rare" if n % 50 == 0 else "acme/demo/often", "even" if n % 2 == 0 else "odd"
        fail(store, client, str(n), flow, code, at=soon + n)
    assert [view.id for view in dead(4, flow="acme/demo/rare")] == ["250", "200", "150", "100"]
    assert [view.id for view in dead(flow="acme/demo/rare", since=soon + 140)] == ["250", "200", "150"]
    assert len(dead(70, code="odd")) == 70
    assert len(dead(None)) == 260
    assert dead(flow="acme/demo/rare", code="odd") == []


def test_what_fails_meanwhile_is_not_listed_twice(store: RunStore, client: fakeredis.FakeRedis) -> None:
    for n in range(1, 151):
        fail(store, client, str(n), "acme/demo/often", "boom", at=time.time())
    listing = dead_runs._dead(None, None, None, None)
    first = [next(listing).id for _ in range(100)]
    for n in range(151, 161):
        fail(store, client, str(n), "acme/demo/often", "boom", at=time.time())
    rest = [view.id for view in listing]
    assert first + rest == [str(n) for n in range(150, 0, -1)]


@pytest.mark.parametrize("limit", [0, -1, True, "5", 1.0])
def test_a_limit_is_a_number_from_one(store: RunStore, limit: Any) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        dead(limit)


def test_a_flow_that_cannot_exist_is_refused(store: RunStore) -> None:
    with pytest.raises(InvalidRequest, match="org/project/slug"):
        dead(flow="everything")
