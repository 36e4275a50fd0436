"""Over HTTP: tool results for a paused run, and what operators do with failed ones; through the real client, without workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
from fastapi import FastAPI, Request

import noukai_worker
from noukai_worker.errors import InvalidRequest
from noukai_worker.runs import Failure, RunRequest, State, operations, outcome
from noukai_worker.runs.answers import Claimed
from noukai_worker.settings import Settings, adopt
from noukai_worker.web import create_app, operator_router
from tests.integration.conftest import House
from tests.support.processes import until

from .conftest import served
from .test_http import parse

pytestmark = pytest.mark.integration

TOKEN = "operators-only-3141"
OPERATOR = {"Authorization": f"Bearer {TOKEN}"}
CALLS = [
    {"id": name, "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz"}'}}
    for name in ("a", "b")
]
WAITING: dict[str, Any] = {"step_id": "s1", "execution_id": "e", "tool_calls": CALLS}
BOTH = [{"tool_call_id": "b", "content": {"rain": True}}, {"tool_call_id": "a", "content": "sun"}]
LIMIT = 5_000


@pytest.fixture
def http(house: House) -> Iterator[httpx.Client]:
    """The stand-alone application as an operator set it up."""
    told = {"redis_url": house.settings.redis_url, "max_input_bytes": LIMIT, "operator_token": TOKEN}
    settings = Settings.model_validate(told)
    adopt(settings)
    with served(create_app(settings)) as client:
        yield client


def ended(house: House, how: outcome.Outcome, flow: str = "acme/demo/hello") -> noukai_worker.Run:
    """A run whose first attempt has ended so."""
    run = noukai_worker.enqueue(flow, message="x")
    claimed = house.store.perform(operations.claim(run.id, claim_id="c", lease=60, worker="w"))
    assert isinstance(claimed, Claimed)
    house.store.perform(outcome.close(claimed.lease, claimed.lease.position, how, pickup=60))
    return run


def failed(house: House, code: str = "boom", flow: str = "acme/demo/hello") -> noukai_worker.Run:
    return ended(house, outcome.Failed(Failure(code, "it broke")), flow)


def refused(http: httpx.Client, method: str, path: str, **options: Any) -> tuple[int, str]:
    answer = http.request(method, path, **options)
    detail = answer.json()["detail"]
    assert set(detail) == {"code", "message"}
    assert TOKEN not in answer.text
    return answer.status_code, detail["code"]


def messages(house: House, queue: str = "noukai.stream") -> int:
    with contextlib.closing(redis.Redis.from_url(house.settings.redis_url)) as client:
        return int(client.llen(queue))


def test_a_paused_run_shows_what_it_waits_for_and_goes_on_with_the_answer(http: httpx.Client, house: House) -> None:
    run = ended(house, outcome.Paused(WAITING, 100))
    bearer = {"Authorization": f"Bearer {run.token}"}
    assert http.get(f"/runs/{run.id}", headers=bearer).json()["waiting_for"] == CALLS
    before = messages(house)
    answers = f"/runs/{run.id}/tool-results"
    answer = http.post(answers, headers=bearer, json={"tool_results": BOTH})
    assert (answer.status_code, answer.json()) == (202, {"id": run.id, "status": "queued", "position": 3})
    assert messages(house) == before + 1
    shown = http.get(f"/runs/{run.id}", headers=bearer).json()
    assert (shown["status"], shown["waiting_for"]) == ("queued", None)
    assert house.log(run.id)[-1].data == {"tool_call_ids": ["a", "b"]}
    claimed = house.store.perform(operations.claim(run.id, claim_id="2", lease=60, worker="w"))
    assert isinstance(claimed, Claimed)
    assert claimed.reply
    assert claimed.reply.results == [
        {"role": "tool", "toolCallId": "a", "content": "sun"},
        {"role": "tool", "toolCallId": "b", "content": '{"rain": true}'},
    ]
    assert refused(http, "POST", answers, headers=bearer, json={"tool_results": BOTH}) == (409, "run_not_paused")


def test_an_answer_may_be_an_object_by_id(http: httpx.Client, house: House) -> None:
    run = ended(house, outcome.Paused(WAITING, 100))
    answer = http.post(f"/runs/{run.id}/tool-results?token={run.token}", json={"tool_results": {"a": "1", "b": "2"}})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", (400, "invalid_json")),
        (b"[]", (400, "invalid_json")),
        (b"{}", (422, "invalid_request")),
        (b'{"tool_results": [], "more": 1}', (422, "invalid_request")),
        (b'{"tool_results": "x"}', (422, "invalid_request")),
        (b'{"tool_results": {"a": 1}}', (422, "invalid_request")),
        (b'{"tool_results": {"a": 1, "b": 2, "c": 3}}', (422, "invalid_request")),
        (b'{"tool_results": {"a": "%s", "b": 1}}' % (b"x" * LIMIT), (413, "payload_too_large")),
        (b'{"tool_results": {"a": "%s", "b": 1}}' % (b"x" * 200_000), (413, "payload_too_large")),
    ],
)
def test_results_that_do_not_fit_change_nothing(
    http: httpx.Client, house: House, body: bytes, says: tuple[int, str]
) -> None:
    run = ended(house, outcome.Paused(WAITING, 100))
    headers = {"X-Noukai-Token": run.token, "Content-Type": "application/json"}
    assert refused(http, "POST", f"/runs/{run.id}/tool-results", headers=headers, content=body) == says
    assert house.view(run.id).state is State.PAUSED


def test_only_who_may_read_a_run_may_answer(http: httpx.Client, house: House) -> None:
    run = ended(house, outcome.Paused(WAITING, 100))
    path = f"/runs/{run.id}/tool-results"
    assert refused(http, "POST", path, json={"tool_results": BOTH}) == (401, "token_required")
    assert refused(http, "POST", f"{path}?token=x", json={"tool_results": BOTH}) == (403, "token_rejected")
    assert refused(http, "POST", "/runs/nobody/tool-results?token=x", json={}) == (404, "run_not_found")
    form = refused(http, "POST", f"{path}?token={run.token}", content=b"tool_results=1")
    assert form == (415, "unsupported_media_type")
    with contextlib.closing(redis.Redis.from_url(house.settings.redis_url)) as client:
        client.delete(f"noukai:{{{run.id}}}:run", f"noukai:{{{run.id}}}:log")
    gone = refused(http, "POST", f"{path}?token={run.token}", json={"tool_results": BOTH})
    assert gone == (410, "run_expired")


def test_an_operator_lists_failed_runs_and_redrives_one(http: httpx.Client, house: House) -> None:
    first, second = failed(house, "boom"), failed(house, "bang", "acme/demo/other")

    def listed(query: str = "") -> list[str]:
        answer = http.get(f"/dead{query}", headers=OPERATOR)
        assert answer.status_code == 200, answer.text
        assert first.token not in answer.text
        return [one["id"] for one in answer.json()["runs"]]

    assert set(listed()) == {first.id, second.id}
    assert listed("?flow=acme/demo/other") == listed("?code=bang") == [second.id]
    assert len(listed("?limit=1")) == 1
    assert set(listed("?since=1h")) == {first.id, second.id}
    assert listed("?since=2100-01-01T00:00Z") == []
    (shown,) = http.get("/dead?code=boom", headers=OPERATOR).json()["runs"]
    assert shown["error"] == {"code": "boom", "message": "it broke"}

    before = messages(house)
    path = f"/runs/{first.id}/redrive"
    answer = http.post(path, headers=OPERATOR)
    assert (answer.status_code, answer.json()) == (202, {"id": first.id, "status": "queued", "position": 2})
    assert messages(house) == before + 1
    assert listed() == [second.id]
    assert refused(http, "POST", path, headers=OPERATOR) == (409, "run_not_failed")
    assert refused(http, "POST", "/runs/nobody/redrive", headers=OPERATOR) == (404, "run_not_found")


def test_an_operator_redrives_many_and_a_bad_one_does_not_stop_the_others(http: httpx.Client, house: House) -> None:
    runs = [failed(house) for _ in range(3)]
    other = failed(house, "bang")
    with contextlib.closing(redis.Redis.from_url(house.settings.redis_url)) as client:
        request = RunRequest.build(flow="acme/demo/hello").json_bytes().replace(b"hello", b"Not A Flow")
        client.hset(f"noukai:{{{runs[1].id}}}:run", "request", request)
    answer = http.post("/dead/redrive", headers=OPERATOR, json={"code": "boom", "since": "1h"})
    body = answer.json()
    assert answer.status_code == 202
    assert set(body["redriven"]) == {runs[0].id, runs[2].id}
    assert [(one["id"], one["code"]) for one in body["refused"]] == [(runs[1].id, "internal_error")]
    assert house.view(other.id).state is State.FAILED


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/dead?limit=0", None),
        ("GET", "/dead?limit=1001", None),
        ("GET", "/dead?since=yesterday", None),
        ("GET", "/dead?since=2026-11-24T10:00", None),
        ("GET", "/dead?flow=x", None),
        ("POST", "/dead/redrive", {"flow": 5}),
        ("POST", "/dead/redrive", {"limit": "5"}),
        ("POST", "/dead/redrive", {"since": [1]}),
        ("POST", "/dead/redrive", {"all": True}),
    ],
)
def test_an_operators_mistake_is_named(http: httpx.Client, house: House, method: str, path: str, body: Any) -> None:
    run = failed(house)
    assert refused(http, method, path, headers=OPERATOR, json=body) == (422, "invalid_request")
    assert house.view(run.id).state is State.FAILED


@pytest.mark.parametrize(
    ("headers", "query", "says"),
    [
        ({}, "", (401, "operator_token_required")),
        ({"Authorization": "Bearer of-somebody-else-314"}, "", (403, "operator_token_rejected")),
        ({"Authorization": f"Basic {TOKEN}"}, "", (401, "operator_token_required")),
        ({"X-Noukai-Token": TOKEN}, "", (401, "operator_token_required")),
        ({"Cookie": f"noukai_token={TOKEN}"}, "", (401, "operator_token_required")),
        ({}, f"?token={TOKEN}", (401, "operator_token_required")),
    ],
)
def test_only_operators_pass(
    http: httpx.Client, house: House, headers: dict[str, str], query: str, says: tuple[int, str]
) -> None:
    run = failed(house)
    for method, path in (("GET", "/dead"), ("POST", "/dead/redrive"), ("POST", f"/runs/{run.id}/redrive")):
        assert refused(http, method, path + query, headers=headers) == says
    own = {"Authorization": f"Bearer {run.token}"}
    assert refused(http, "POST", f"/runs/{run.id}/redrive", headers=own) == (403, "operator_token_rejected")
    assert house.view(run.id).state is State.FAILED


def test_without_a_token_for_operators_the_application_has_no_such_routes(house: House) -> None:
    run = failed(house)
    with served(create_app(house.settings, open=True)) as http:
        assert refused(http, "GET", "/dead") == (404, "not_found")
        assert refused(http, "POST", f"/runs/{run.id}/redrive") == (404, "not_found")


def test_an_application_says_who_its_operators_are(house: House) -> None:
    def staff(request: Request) -> str | None:
        return request.headers.get("x-staff")

    run = failed(house)
    app = FastAPI()
    app.include_router(operator_router(identify=staff), prefix="/ops")
    with served(app) as http:
        assert refused(http, "GET", "/ops/dead") == (401, "identity_required")
        assert [one["id"] for one in http.get("/ops/dead", headers={"X-Staff": "eva"}).json()["runs"]] == [run.id]
    with pytest.raises(InvalidRequest, match="identify"):
        operator_router(identify=None)  # type: ignore[arg-type]


def test_a_page_that_comes_back_follows_a_redriven_run_to_its_new_end(http: httpx.Client, house: House) -> None:
    run = failed(house)
    events = f"/runs/{run.id}/events?token={run.token}"
    assert [event["event"] for event in parse(http.get(events).text)] == ["run.queued", "run.started", "run.failed"]
    came_back = {"Last-Event-ID": "3"}
    assert http.get(events, headers=came_back).status_code == 204
    noukai_worker.redrive(run.id)
    with http.stream("GET", events, headers=came_back) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        claimed = house.store.perform(operations.claim(run.id, claim_id="2", lease=60, worker="w"))
        assert isinstance(claimed, Claimed)
        end = outcome.close(claimed.lease, claimed.lease.position, outcome.Completed("done"), pickup=60)
        until(lambda: "id: 4" in lines, "the new attempt is seen")
        house.store.perform(end)
        rest = parse("\n".join(lines) + "\n\n")
    assert [event["event"] for event in rest] == ["run.started", "run.completed"]
    again = parse(http.get(events).text)
    assert [event["event"] for event in again] == [
        "run.queued",
        "run.started",
        "run.retrying",
        "run.started",
        "run.completed",
    ]
    assert [event["id"] for event in again] == ["1", "2", "3", "4", "5"]


def test_the_routes_are_in_the_schema(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    for path, method in (
        ("/runs/{run_id}/tool-results", "post"),
        ("/runs/{run_id}/redrive", "post"),
        ("/dead/redrive", "post"),
        ("/dead", "get"),
    ):
        assert "description" in paths[path][method]
    schema = paths["/runs/{run_id}/tool-results"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["tool_results"]
