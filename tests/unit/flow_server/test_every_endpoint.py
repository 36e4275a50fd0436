"""What holds on each endpoint: a request id on every answer, errors in one shape, keys checked, trouble on order."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, NamedTuple

import httpx
import pytest

from noukai_worker.dev.flow_server import create_app
from noukai_worker.dev.flow_server.manners import CALLS, KINDS, READS, EndpointName
from tests.support.flow_server import refused

TWO = "acme/demo/two-step"


class Target(NamedTuple):
    """One endpoint, and a request to it that is answered with ``status``."""

    name: EndpointName
    method: str
    path: str
    status: int


TARGETS = (
    Target("execute", "POST", f"/seq/{TWO}/execute", 200),
    Target("step", "POST", f"/seq/{TWO}/v2/step", 200),
    Target("jobs", "POST", f"/seq/{TWO}/v0/jobs", 202),
    Target("poll", "GET", f"/seq/{TWO}/jobs/{{job}}", 200),
    Target("trace", "GET", f"/seq/{TWO}/runs/{{run}}/trace", 200),
    Target("step_trace", "GET", f"/seq/{TWO}/runs/{{run}}/steps/step-a/trace", 200),
    Target("live_trace", "GET", f"/seq/{TWO}/runs/{{run}}/trace/stream", 200),
    Target("session", "GET", "/seq/sessions/{session}", 200),
)

EACH = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


@pytest.fixture
def ask(caller: Any) -> Any:
    session_id = str(uuid.uuid4())
    run = caller.execute(TWO, message="known", headers={"X-Session-Id": session_id}).json()["executionId"]
    names = {"run": run, "job": run, "session": session_id}

    def ask(target: Target, method: str = "", **request: Any) -> httpx.Response:
        if target.name == "poll" and names["job"] == run:
            names["job"] = caller.http.post(caller.url(TWO, "jobs"), json={"message": "known"}).json()["executionId"]
        body = request if target.method == "GET" and not method else {"json": {"message": "known"}} | request
        url = caller.server.base_url + target.path.format(**names)
        return caller.http.request(method or target.method, url, **body)

    return ask


def test_all_endpoints_are_here() -> None:
    assert {target.name for target in TARGETS} == {*CALLS, *READS}


@EACH
def test_each_answers_with_an_id_of_its_own(ask: Any, target: Target) -> None:
    first, second = ask(target), ask(target)
    assert (first.status_code, second.status_code) == (target.status, target.status)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@EACH
def test_any_accept_header_will_do(ask: Any, target: Target) -> None:
    assert ask(target, headers={"Accept": "image/png"}).status_code == target.status


@EACH
def test_each_checks_the_key(ask: Any, target: Target) -> None:
    for header in ("", "Bearer sk_x", "Basic nk_x"):
        answer = ask(target, headers={"Authorization": header})
        assert refused(answer) == (401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@EACH
def test_each_has_its_method(ask: Any, target: Target) -> None:
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {target.method}:
        answer = ask(target, method)
        assert refused(answer) == (405, "METHOD_NOT_ALLOWED")
        assert target.method in answer.headers["allow"]


@EACH
def test_a_slash_too_many_is_not_found(ask: Any, target: Target) -> None:
    assert refused(ask(target._replace(path=target.path + "/"))) == (404, "NOT_FOUND")


@pytest.mark.parametrize("target", TARGETS[:-1], ids=[*CALLS, *READS[:-1]])
def test_an_unknown_flow(ask: Any, target: Target) -> None:
    unknown = target._replace(path=target.path.replace("two-step", "three-step"))
    assert refused(ask(unknown)) == (404, "FLOW_NOT_FOUND")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"message": 5}', b'{"parameters": []}', b'{"messages": [{}]}'])
@pytest.mark.parametrize("target", TARGETS[:3], ids=CALLS)
def test_bodies_that_make_no_sense(ask: Any, target: Target, content: bytes) -> None:
    status, _ = refused(ask(target, json=None, content=content))
    assert status in (400, 422)


@pytest.mark.parametrize("target", TARGETS[:3], ids=CALLS)
def test_absent_null_and_empty_members_are_alike(ask: Any, target: Target) -> None:
    empty: dict[str, Any] = {"accumulatedOutputs": {}, "messages": [], "tools": [], "executionId": None}
    for extra in ({}, empty, dict.fromkeys((*empty, "parameters", "attachments", "toolChoice", "iterationsUsed"))):
        assert ask(target, json={"message": "x"} | extra).status_code == target.status


@EACH
def test_each_status_and_code_can_be_ordered(caller: Any, ask: Any, target: Target) -> None:
    for status, code in ((503, "BILLING_UNAVAILABLE"), (409, "STALE_TREE"), (502, "BYOK_KEY_REJECTED"), (404, "GONE")):
        manner = {"status": status, "code": code, "message": "By order.", "retry_after": 3}
        assert caller.order({"endpoint": target.name, "manner": manner}).status_code == 200
        answer = ask(target)
        assert refused(answer) == (status, code)
        assert answer.headers["retry-after"] == "3"
    assert ask(target).status_code == target.status


@EACH
def test_each_can_hang_up(caller: Any, ask: Any, target: Target) -> None:
    caller.order({"endpoint": target.name, "manner": {"cut_before_work": True}})
    with pytest.raises(httpx.RemoteProtocolError):
        ask(target)
    assert ask(target).status_code == target.status


@EACH
def test_each_is_counted_with_the_trouble_it_met(caller: Any, ask: Any, target: Target) -> None:
    ask(target)
    caller.http.delete(caller.server.url + "/_control/counts")
    caller.order({"endpoint": target.name, "manner": {"status": 500}})
    ask(target)
    ask(target)
    counts = caller.counts()
    kept, other = ("requests", "reads") if target.name in CALLS else ("reads", "requests")
    assert [(entry["endpoint"], entry["status"], entry["manner"]) for entry in counts[kept]] == [
        (target.name, 500, "status"),
        (target.name, target.status, None),
    ]
    assert counts[other] == []


def test_an_order_without_endpoint_is_for_calls(caller: Any, ask: Any) -> None:
    assert [ask(target).status_code for target in TARGETS[3:]] == [200] * 5
    caller.order({"times": 3, "manner": {"status": 503}})
    assert [ask(target).status_code for target in TARGETS[3:]] == [200] * 5
    assert [ask(target).status_code for target in TARGETS[:3]] == [503] * 3


def test_an_order_for_a_flow_or_a_message_finds_the_reads_of_its_runs(caller: Any, ask: Any) -> None:
    (trace,) = (target for target in TARGETS if target.name == "trace")
    for wanted, status in (
        ({"flow": "acme/demo/hello-world"}, 200),
        ({"message": "other"}, 200),
        ({"flow": TWO, "message": "known"}, 503),
    ):
        caller.http.delete(caller.server.url + "/_control/manners")
        caller.order({"endpoint": "trace", "manner": {"status": 503}} | wanted)
        assert ask(trace).status_code == status


@pytest.mark.parametrize("kind", ["drop_after_events", "malformed_after_events", "stall_after_events"])
def test_a_live_trace_can_be_spoilt(caller: Any, ask: Any, kind: str) -> None:
    assert "live_trace" in KINDS[kind]
    (live,) = (target for target in TARGETS if target.name == "live_trace")
    whole = ask(live).text
    manner: dict[str, Any] = {kind: 2}
    if kind == "stall_after_events":
        manner["seconds"] = 0.01
    caller.order({"endpoint": "live_trace", "manner": manner})
    if kind == "drop_after_events":
        with pytest.raises(httpx.RemoteProtocolError):
            ask(live)
    else:
        assert (ask(live).text == whole) is (kind == "stall_after_events")


CONTROL = [
    ("GET", "counts?nothing=1", 400),
    ("GET", "nothing", 404),
    ("PUT", "counts", 405),
    ("POST", "manners", 400),
    ("POST", "credits", 400),
    ("DELETE", "sessions/none", 404),
]


@pytest.mark.parametrize(("method", "what", "status"), CONTROL)
def test_control_answers_alike(caller: Any, method: str, what: str, status: int) -> None:
    answer = caller.http.request(method, f"{caller.server.url}/_control/{what}", content=b"{")
    assert refused(answer)[0] == status


def test_a_bug_of_ours_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://flows/api/v1") as http:
            body, headers = {"message": "x"}, {"Authorization": "Bearer nk_x"}
            return await http.post(f"/seq/{TWO}/execute", json=body, headers=headers)

    monkeypatch.setattr("noukai_worker.dev.flow_server.execute.walk", None)
    assert refused(asyncio.run(scene())) == (500, "INTERNAL_ERROR")
