"""``/execute``: completed and failed answers, versions, what goes into a run."""

from __future__ import annotations

from typing import Any

import pytest


def test_a_completed_run_has_the_members_of_the_wire(caller: Any) -> None:
    answer = caller.execute("acme/demo/two-step", message="hi")
    body = answer.json()
    assert answer.status_code == 200
    assert body.keys() == {"status", "result", "flowId", "blockCount", "executionId"}
    assert body["status"] == "completed"
    assert body["result"] == {"text": "b: a: hi"}
    assert body["blockCount"] == 2
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "path", ["acme/spelling/grade-3", "acme/process/default", "acme/demo/hello-world", "acme/demo/agent-tools"]
)
def test_samples_run_on_a_message(caller: Any, path: str) -> None:
    body = caller.execute(path, message="owls").json()
    assert body["status"] == "completed"
    assert "owls" in body["result"]


def test_null_and_unknown_members_count_as_absent(caller: Any) -> None:
    body = {"message": "x", "messages": None, "tools": None, "parameters": None, "accumulatedOutputs": {}, "new": 1}
    assert caller.execute("acme/demo/hello-world", **body).json()["result"] == "Hello, x!"


def test_the_last_of_messages_is_the_input(caller: Any) -> None:
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "?"},
        {"role": "user", "content": "two"},
    ]
    assert caller.execute("acme/demo/hello-world", messages=messages).json()["result"] == "Hello, two!"


def test_parameters_alone_are_an_input(caller: Any) -> None:
    body = caller.execute("acme/demo/load", parameters={"steps": 2, "events": 0}).json()
    assert body["result"] == {"step": 2, "events": 0}


@pytest.mark.parametrize("version", ["v0", "v1", "v9"])
def test_draft_and_published_versions_execute(caller: Any, version: str) -> None:
    assert caller.execute(f"acme/demo/hello-world/{version}", message="x").status_code == 200


@pytest.mark.parametrize("spelling", ["blockOverrides", "block_overrides"])
def test_block_overrides_replace_a_prompt_in_either_spelling(caller: Any, spelling: str) -> None:
    body = caller.execute("acme/test/flaky", message="x", **{spelling: {"first": {"prompt": "other"}}}).json()
    assert (body["status"], body["result"]) == ("failed", "Busy.")
    body = caller.execute("acme/test/flaky", message="x", **{spelling: {"first": {"prompt": "other"}}}).json()
    assert body["result"] == "second: other"


def test_a_failed_step_is_a_normal_answer(caller: Any) -> None:
    body = caller.execute("acme/test/unlucky", message="x").json()
    assert body["status"] == "failed"
    assert body["result"] == "This step was told to fail."
    assert caller.counts()["runs"][body["executionId"]]["steps"] == {
        "never": {"started": 1, "resumed": 0, "completed": 0, "failed": 1}
    }
