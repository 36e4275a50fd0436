"""What bad input gets: status, code, shape, and a request id, always."""

from __future__ import annotations

from typing import Any

import pytest

from noukai_worker.dev.flow_server import running
from tests.support.flow_server import refused

PATH = "acme/demo/hello-world"


@pytest.mark.parametrize("header", ["", "nk_key", "Basic nk_key", "Bearer", "Bearer sk_key"])
def test_bad_keys(caller: Any, header: str) -> None:
    answer = caller.execute(PATH, message="x", headers={"Authorization": header})
    assert refused(answer) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_broke_key(caller: Any) -> None:
    answer = caller.step(PATH, message="x", headers={"Authorization": "Bearer nk_broke"})
    assert refused(answer) == (402, "INSUFFICIENT_CREDITS")


def test_only_given_keys_are_accepted(caller: Any) -> None:
    with running(api_keys=["nk_mine"]) as server:
        url = f"{server.base_url}/seq/{PATH}/execute"
        other = caller.http.post(url, json={"message": "x"})
        mine = caller.http.post(url, json={"message": "x"}, headers={"Authorization": "Bearer nk_mine"})
    assert refused(other) == (401, "UNAUTHENTICATED")
    assert mine.status_code == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "MISSING_MESSAGE")),
        ({"message": "", "messages": []}, (400, "MISSING_MESSAGE")),
        ({"messages": [{"role": "system", "content": "x"}]}, (400, "MESSAGES_ROLE_INVALID")),
        ({"messages": [{"content": "x"}]}, (400, "MESSAGES_ROLE_INVALID")),
        ({"messages": [{"role": "user", "content": "x" * 1_000_000}]}, (413, "MESSAGES_TOO_LARGE")),
        ({"message": "x", "toolCallMessages": [{"content": "x" * 1_000_000}]}, (413, "MESSAGES_TOO_LARGE")),
        ({"message": "x", "parameters": {"attachments": []}}, (400, "PARAMETER_NAME_RESERVED")),
        ({"message": 5}, (422, "VALIDATION_ERROR")),
        ({"message": "x", "parameters": []}, (422, "VALIDATION_ERROR")),
        (
            {"message": "x", "attachments": [{"url": "https://x", "mime_type": "image/png"}] * 11},
            (400, "ATTACHMENTS_INVALID"),
        ),
        (
            {"message": "x", "attachments": [{"url": "http://x", "mime_type": "image/png"}]},
            (400, "ATTACHMENTS_INVALID"),
        ),
        (
            {"message": "x", "attachments": [{"url": "https://x", "mime_type": "text/html"}]},
            (400, "MODEL_MIME_INCOMPATIBLE"),
        ),
    ],
)
def test_bodies(caller: Any, body: dict[str, Any], expected: tuple[int, str]) -> None:
    assert refused(caller.execute(PATH, **body)) == expected


def test_ten_attachments_without_kind_are_taken(caller: Any) -> None:
    attachments = [{"url": "https://x/y.png", "mime_type": "image/png"}] * 10
    assert caller.execute(PATH, message="x", attachments=attachments).status_code == 200


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_json_objects(caller: Any, content: bytes) -> None:
    assert refused(caller.http.post(caller.url(PATH, "execute"), content=content)) == (400, "INVALID_JSON")


@pytest.mark.parametrize("version", ["v10", "v01", "v-1", "latest", "v"])
def test_versions_that_do_not_exist(caller: Any, version: str) -> None:
    assert refused(caller.execute(f"{PATH}/{version}", message="x")) == (400, "INVALID_VERSION")


def test_the_draft_cannot_be_stepped(caller: Any) -> None:
    assert refused(caller.step(f"{PATH}/v0", message="x")) == (400, "INVALID_VERSION")
    assert caller.step(f"{PATH}/v1", message="x").status_code == 200


def test_unknown_flows_and_paths(caller: Any) -> None:
    assert refused(caller.execute("acme/demo/nothing", message="x")) == (404, "FLOW_NOT_FOUND")
    assert refused(caller.http.get(caller.server.base_url + "/nothing")) == (404, "NOT_FOUND")
    assert refused(caller.http.get(caller.url(PATH, "execute"))) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"message": "x", "stepIndex": 1}, (400, "INVALID_FIRST_CALL")),
        ({"message": "x", "toolCallMessages": [{"role": "tool"}]}, (400, "INVALID_FIRST_CALL")),
        ({"executionId": "e-0", "stepIndex": 0}, (404, "RUN_NOT_FOUND")),
        ({}, (400, "MISSING_MESSAGE")),
    ],
)
def test_first_step_calls(caller: Any, body: dict[str, Any], expected: tuple[int, str]) -> None:
    assert refused(caller.step("acme/demo/two-step", **body)) == expected


def test_later_step_calls(caller: Any) -> None:
    path = "acme/demo/two-step"
    execution_id = caller.events(path, message="x")[0][1]["executionId"]
    beyond = caller.step(path, executionId=execution_id, stepIndex=2, accumulatedOutputs={"step-a": 1, "step-b": 1})
    assert refused(beyond) == (400, "INVALID_STEP_INDEX")
    assert refused(caller.step(path, executionId=execution_id, stepIndex=-1)) == (400, "INVALID_STEP_INDEX")
    assert refused(caller.step(path, executionId=execution_id, stepIndex=1)) == (400, "INVALID_STEP_INDEX")
    assert refused(caller.step(PATH, executionId=execution_id)) == (400, "EXECUTION_ID_INVALID")


@pytest.mark.parametrize("parameters", [{"steps": 0}, {"events": -1}, {"interval": "soon"}, {"bytes": 2_000_000}])
def test_senseless_load(caller: Any, parameters: dict[str, Any]) -> None:
    answer = caller.step("acme/demo/load", message="x", parameters=parameters)
    assert refused(answer) == (400, "PARAMETERS_INVALID")


def test_a_refused_call_is_counted_but_starts_nothing(caller: Any) -> None:
    caller.execute(PATH)
    counts = caller.counts()
    assert [(entry["status"], entry["code"]) for entry in counts["requests"]] == [(400, "MISSING_MESSAGE")]
    assert counts["runs"] == {}
