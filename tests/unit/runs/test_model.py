"""The table of transitions says what the rules above it say."""

from __future__ import annotations

import pytest

from noukai_worker.errors import InvalidRequest, PayloadTooLarge
from noukai_worker.runs import TRANSITIONS, RunRequest, State


def test_every_state_has_a_row_and_three_have_no_way_out() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {state for state in State if state.terminal} == {State.COMPLETED, State.FAILED, State.CANCELLED}


def test_only_what_is_queued_can_be_claimed() -> None:
    assert [state for state in State if State.RUNNING in TRANSITIONS[state]] == [State.QUEUED]


def test_everything_that_has_not_ended_can_be_cancelled() -> None:
    assert all(State.CANCELLED in targets for state, targets in TRANSITIONS.items() if not state.terminal)


def test_every_state_can_be_reached() -> None:
    reached = {State.QUEUED}
    for _ in State:
        reached |= {target for state in reached for target in TRANSITIONS[state]}
    assert reached == set(State)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"flow": "Nope"}, "org/project/slug"),
        ({"flow": "acme/demo"}, "org/project/slug"),
        ({"flow": "acme/demo/../x"}, "org/project/slug"),
        ({"flow": "acme/demo/-x"}, "org/project/slug"),
        ({"flow": "acme/demo/" + "x" * 51}, "org/project/slug"),
        ({"flow": 5}, "org/project/slug"),
        ({"mode": "batch"}, '"stream", "execute" or "job"'),
        ({"mode": "job", "tools": [{"name": "x"}]}, "no messages, attachments or tools"),
        ({"mode": "job", "input_overrides": {"a": 1}}, "no input_overrides"),
        ({"message": 5}, "string"),
        ({"message": "a", "messages": [{"role": "user"}]}, "not both"),
        ({"messages": [{"role": "user", "content": "x"}]}, "no messages"),
        ({"messages": [{"role": "system"}], "mode": "execute"}, "role"),
        ({"version": True}, "version"),
        ({"version": -1}, "version"),
        ({"version": "latest"}, "version"),
        ({"version": "draft"}, "draft"),
        ({"version": 0}, "draft"),
        ({"credential": "nk_live_abc"}, "not the key"),
        ({"credential": "a b"}, "name of a key"),
        ({"parameters": {"a": object()}}, "JSON"),
        ({"parameters": [1]}, "dictionary"),
        ({"parameters": {"a": float("inf")}}, "JSON"),
        ({"session_id": "é"}, "ASCII"),
        ({"timeout": 0}, "greater than 0"),
        ({"max_attempts": 0}, "greater than or equal to 1"),
        ({"colour": "red"}, "no such argument"),
        ({"attachments": [{}] * 11}, "at most 10"),
        ({"tools": [{}] * 65}, "at most 64"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(fields: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        RunRequest.build(**({"flow": "acme/demo/two-step"} | fields))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "nk_live" not in str(caught.value)


def test_what_could_not_be_read_back_is_refused() -> None:
    deep: object = 1
    for _ in range(230):
        deep = [deep]
    with pytest.raises(InvalidRequest):
        RunRequest.build(flow="acme/demo/two-step", parameters={"deep": deep})


def test_a_record_of_a_newer_version_can_be_read() -> None:
    assert RunRequest.stored(b'{"flow":"acme/demo/two-step","colour":"red"}').flow == "acme/demo/two-step"


def test_the_size_is_limited_in_bytes() -> None:
    with pytest.raises(PayloadTooLarge) as caught:
        RunRequest.build(1000, flow="acme/demo/two-step", message="é" * 600)
    assert caught.value.limit == 1000
    assert caught.value.size > 1200


def test_the_same_request_has_the_same_digest_and_another_another() -> None:
    one = RunRequest.build(flow="acme/demo/two-step", message="a", credential="default")
    same = RunRequest.build(flow="acme/demo/two-step", message="a", mode="stream", parameters=None)
    assert one.digest() == same.digest()
    ordered = RunRequest.build(flow="acme/demo/two-step", parameters={"a": 1, "b": 2}, version="2")
    assert (
        ordered.digest() == RunRequest.build(flow="acme/demo/two-step", parameters={"b": 2, "a": 1}, version=2).digest()
    )
    assert one.digest() != RunRequest.build(flow="acme/demo/two-step", message="b").digest()
    assert RunRequest.model_validate_json(one.json_bytes()) == one
