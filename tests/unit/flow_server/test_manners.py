"""Ordered trouble: each kind happens, is used up, and shows in the counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

TWO = "acme/demo/two-step"


def statuses(caller: Any) -> list[int | None]:
    return [entry["status"] for entry in caller.counts()["requests"]]


def test_an_error_status_with_retry_after(caller: Any) -> None:
    caller.order({"times": 2, "manner": {"status": 429, "retry_after": 2}})
    first, second, third = (caller.execute(TWO, message="x") for _ in range(3))
    assert (first.status_code, first.headers["retry-after"], first.json()["detail"]["code"]) == (429, "2", "RATE_LIMIT")
    assert (second.status_code, third.status_code) == (429, 200)
    assert "retry-after" not in third.headers
    assert [entry["manner"] for entry in caller.counts()["requests"]] == ["status", "status", None]


def test_a_date_a_code_a_message_or_a_page(caller: Any) -> None:
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    caller.order(
        {"manner": {"status": 503, "retry_after": date, "code": "BILLING_UNAVAILABLE", "message": "Later."}},
        {"manner": {"status": 200, "body": "<h1>Gateway</h1>"}},
        {"manner": {"status": 503, "retry_after": 0.5}},
    )
    answer = caller.step(TWO, message="x")
    assert answer.headers["retry-after"] == date
    assert answer.json() == {"detail": {"code": "BILLING_UNAVAILABLE", "message": "Later."}}
    page = caller.execute(TWO, message="x")
    assert (page.status_code, page.text) == (200, "<h1>Gateway</h1>")
    assert page.headers["content-type"].startswith("text/html")
    assert caller.execute(TWO, message="x").headers["retry-after"] == "0.5"
    assert statuses(caller) == [503, 200, 503]


def test_orders_wait_for_the_request_they_are_meant_for(caller: Any) -> None:
    caller.order(
        {"flow": TWO, "endpoint": "step", "message": "mine", "manner": {"status": 500}},
        {"flow": TWO, "manner": {"status": 502}},
        {"manner": {"status": 504}},
    )
    assert caller.execute("acme/demo/hello-world", message="mine").status_code == 504
    assert caller.execute(TWO, message="mine").status_code == 502
    assert caller.execute(TWO, message="mine").status_code == 200
    assert caller.step(TWO, message="other").status_code == 200
    assert caller.step(TWO, message="mine").status_code == 500
    assert caller.http.get(caller.server.url + "/_control/manners").json() == {"waiting": []}


def test_a_dropped_stream_ends_in_the_middle_of_the_body(caller: Any, read_frames: Callable[[str], list[Any]]) -> None:
    caller.order({"manner": {"drop_after_events": 3}})
    text, error = caller.until_dropped(TWO, message="x", runRemaining=True)
    assert isinstance(error, httpx.RemoteProtocolError)
    events = read_frames(text)
    assert [name for name, _ in events] == ["run_started", "step_started", "step_completed"]
    run = caller.counts()["runs"][events[0][1]["executionId"]]
    assert run["steps"] == {"step-a": {"started": 1, "resumed": 0, "completed": 1, "failed": 0}}


def test_a_reset_is_a_reset(caller: Any) -> None:
    caller.order({"manner": {"drop_after_events": 3, "reset": True}})
    _, error = caller.until_dropped(TWO, message="x", runRemaining=True)
    assert isinstance(error, httpx.ReadError)
    (run,) = caller.counts()["runs"].values()
    assert run["steps"].keys() == {"step-a"}


@pytest.mark.parametrize("count", [0, 6])
def test_a_drop_before_the_first_or_after_the_last_event(caller: Any, count: int) -> None:
    caller.order({"manner": {"drop_after_events": count}})
    text, error = caller.until_dropped(TWO, message="x", runRemaining=True)
    assert isinstance(error, httpx.RemoteProtocolError)
    assert text.count("\n\n") == count
    assert caller.events(TWO, message="x")


def test_a_drop_comes_at_once_even_if_the_next_event_is_far_off(caller: Any) -> None:
    caller.order({"manner": {"drop_after_events": 2}})
    text, error = caller.until_dropped("acme/test/slow", message="x")
    assert isinstance(error, httpx.RemoteProtocolError)
    assert text.count("\n\n") == 2


def test_a_malformed_frame_replaces_the_good_one_and_its_step_does_not_count(caller: Any) -> None:
    caller.order({"manner": {"malformed_after_events": 2}})
    answer = caller.step(TWO, message="ł" * 50, runRemaining=True)
    frames = answer.text.split("\n\n")[:-1]
    assert len(frames) == 6
    with pytest.raises(json.JSONDecodeError):
        json.loads(frames[2].split("data: ")[1])
    assert frames[5].startswith("event: flow_completed")
    (run,) = caller.counts()["runs"].values()
    assert run["steps"]["step-a"] == {"started": 1, "resumed": 0, "completed": 0, "failed": 0}


def test_a_stall_is_silence_that_ends(caller: Any) -> None:
    caller.order({"manner": {"stall_after_events": 3, "seconds": 0.3}})
    events = caller.events(TWO, message="x", runRemaining=True)
    assert events[-1][0] == "flow_completed"
    (run,) = caller.counts()["runs"].values()
    assert run["completed_at"] - run["started_at"] > 0.29


def test_a_delay_comes_before_the_work(caller: Any) -> None:
    caller.order({"manner": {"delay": 0.3}}, {"manner": {"delay": 0.1, "status": 503}})
    caller.execute(TWO, message="x")
    (request,), (run,) = (list(part) for part in (caller.counts()["requests"], caller.counts()["runs"].values()))
    assert run["started_at"] - request["at"] > 0.29
    assert caller.execute(TWO, message="x").status_code == 503


def test_cut_after_work_pays_and_does_not_answer(caller: Any) -> None:
    caller.order({"manner": {"cut_after_work": True}})
    assert caller.events(TWO, message="streams are not meant")
    with pytest.raises(httpx.RemoteProtocolError):
        caller.execute(TWO, message="x", headers={"X-Session-Id": "s"})
    counts = caller.counts(session_id="s")
    (run,) = counts["runs"].values()
    assert run["status"] == "completed"
    assert {row["completed"] for row in run["steps"].values()} == {1}
    assert counts["requests"][0]["status"] is None


@pytest.mark.parametrize("endpoint", ["execute", "step"])
def test_cut_before_work_does_nothing(caller: Any, endpoint: str) -> None:
    caller.order({"manner": {"cut_before_work": True}})
    with pytest.raises(httpx.RemoteProtocolError):
        caller.http.post(caller.url(TWO, endpoint), json={"message": "x"})
    assert caller.counts()["runs"] == {}


def test_delete_forgets_orders(caller: Any) -> None:
    caller.order({"times": 5, "manner": {"status": 503}}, {"manner": {"status": 500}})
    assert caller.http.delete(caller.server.url + "/_control/manners").json() == {"cleared": 2}
    assert caller.execute(TWO, message="x").status_code == 200


def test_waiting_orders_are_told(caller: Any) -> None:
    answer = caller.order({"times": 3, "flow": TWO, "manner": {"status": 503}})
    assert answer.json() == {"waiting": [{"times": 3, "flow": TWO, "manner": {"status": 503}}]}
    caller.execute(TWO, message="x")
    waiting = caller.http.get(caller.server.url + "/_control/manners").json()["waiting"]
    assert waiting[0]["times"] == 2


@pytest.mark.parametrize(
    ("order", "hint"),
    [
        ({}, "manner"),
        ({"manner": {}}, "manner: name what to do"),
        ({"manner": {"delay": 1}, "endpoint": "stop"}, "'execute', 'step', 'jobs', 'poll'"),
        ({"manner": {"status": 99}}, "status"),
        ({"manner": {"status": 503, "cut_after_work": True}}, "separate orders"),
        ({"manner": {"stall_after_events": 1}}, "needs seconds"),
        ({"manner": {"delay": 1, "retry_after": 2}}, "only goes with status"),
        ({"manner": {"drop_after_events": -1}}, "greater than or equal to 0"),
        ({"manner": {"delay": -1}}, "greater than or equal to 0"),
        ({"manner": {"crash": True}}, "crash"),
        ({"manner": {"delay": 1}, "times": 0}, "times"),
        ({"manner": {"delay": 1}, "flow": "acme/demo/none"}, "there are: acme"),
        ({"manner": {"cut_after_work": True}, "endpoint": "step"}, "leave endpoint out"),
    ],
)
def test_bad_orders_are_refused_with_the_remedy(caller: Any, order: dict[str, Any], hint: str) -> None:
    answer = caller.order({"manner": {"status": 503}}, order)
    assert answer.status_code == 400
    assert answer.json()["detail"]["code"] == "ORDER_INVALID"
    assert hint in answer.json()["detail"]["message"]
    assert caller.execute(TWO, message="x").status_code == 200, "a list is taken whole or not at all"


def test_an_order_that_is_no_json(caller: Any) -> None:
    answer = caller.http.post(caller.server.url + "/_control/manners", content=b"{")
    assert (answer.status_code, answer.json()["detail"]["code"]) == (400, "ORDER_INVALID")
