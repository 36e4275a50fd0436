"""The step protocol as a machine: transcripts of WIRE.md 4.6, odd frames, and equality under any chunking."""

from __future__ import annotations

import json
import logging
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noukai_sdk import Checkpoint, Frame, FrameTooLargeError, StreamInterruptedError, StreamProtocolError
from noukai_sdk._models.requests import StepRequest
from noukai_sdk._protocol.stream import State, StepMachine


def machine(**options: Any) -> StepMachine:
    made = StepMachine(StepRequest(message="hi"), **options)
    made.next_body()
    return made


def fed(body: bytes, chunks: list[bytes] | None = None) -> tuple[list[tuple[Any, ...]], str, Checkpoint, State]:
    """Everything observable after a body: frames, the failure, the checkpoint, the state."""
    made = machine()
    frames: list[Frame] = []
    for chunk in [body] if chunks is None else chunks:
        frames += made.receive(chunk)
        if made.failure or made.state is not State.READING:
            break
    else:
        frames += made.end_of_body()
    seen = [(frame.type, frame.data, frame.payload, frame.checkpoint) for frame in frames]
    return seen, repr(made.failure), made.checkpoint, made.state


def test_two_steps_in_two_calls(frame: Any) -> None:
    made = StepMachine(StepRequest(message="hi", tools=[{"type": "function"}], block_overrides={"s": {"m": 1}}))
    assert made.next_body() == {
        "stepIndex": 0,
        "accumulatedOutputs": {},
        "message": "hi",
        "parameters": {},
        "inputOverrides": {},
        "blockOverrides": {"s": {"m": 1}},
        "runRemaining": False,
        "tools": [{"type": "function"}],
        "iterationsUsed": 0,
        "trace": False,
    }
    made.receive(frame("run_started", executionId="E"))
    made.receive(frame("step_completed", stepId="a", output=None))
    assert made.state is State.READING
    made.receive(frame("step_paused", executionId="E"))
    assert made.state is State.PAUSED
    assert made.next_body() == {
        "executionId": "E",
        "stepIndex": 1,
        "accumulatedOutputs": {"a": None},
        "parameters": {},
        "inputOverrides": {},
        "blockOverrides": {"s": {"m": 1}},
        "runRemaining": False,
        "tools": [{"type": "function"}],
        "iterationsUsed": 0,
        "trace": False,
    }
    assert made.state is State.READING
    made.receive(frame("step_completed", stepId="b", output=1) + frame("flow_completed", result=1))
    assert made.state is State.FINISHED


def test_indexes_are_flow_absolute_in_payload_and_bytes(frame: Any) -> None:
    made = StepMachine(StepRequest(), checkpoint=Checkpoint("E", 3, {}))
    made.next_body()
    frames = made.receive(
        frame("step_started", stepId="a", stepIndex=0)
        + frame("step_completed", stepId="a")
        + frame("step_paused", stepIndex=None, nextStepIndex=1)
    )
    assert [item.payload["stepIndex"] for item in frames] == [3, 3, 3]
    assert [json.loads(item.data) for item in frames] == [item.payload for item in frames]


def test_bytes_that_are_right_already_are_left_alone() -> None:
    made = machine()
    odd_spacing = b'{"stepId" :"a",  "stepIndex":0, "x": 1e3}'
    other = b'{ "outputData": "\\u00e9" }'
    frames = made.receive(
        b"event: step_started\ndata: " + odd_spacing + b"\n\nevent: step_output\ndata: " + other + b"\n\n"
    )
    assert [item.data for item in frames] == [odd_spacing, other]


def test_a_pause_without_progress_is_an_error_not_a_loop(frame: Any) -> None:
    made = machine()
    frames = made.receive(frame("step_started", stepId="a") + frame("step_paused"))
    assert [item.type for item in frames] == ["step_started"]
    assert isinstance(made.failure, StreamProtocolError)


def test_nothing_after_the_end_is_read(frame: Any) -> None:
    for end in ("flow_completed", "step_error"):
        made = machine()
        frames = made.receive(frame("step_output", stepId="a") + frame(end) + frame("step_output", stepId="b"))
        assert [item.type for item in frames] == ["step_output", end]


def test_the_end_of_the_body_is_not_the_end_of_the_flow(frame: Any) -> None:
    made = machine()
    made.receive(frame("step_completed", stepId="a"))
    assert made.end_of_body() == []
    assert type(made.failure) is StreamInterruptedError


def test_a_last_frame_without_its_blank_line_counts_if_it_is_whole(frame: Any) -> None:
    whole = frame("flow_completed", result="é")
    for kept in range(len(whole) + 1):
        made = machine()
        frames = made.receive(whole[:kept]) or made.end_of_body()
        complete = kept >= len(whole) - 2
        assert [item.type for item in frames] == (["flow_completed"] if complete else []), kept
        assert (made.failure is None) == complete


def test_checkpoints_on_frames(frame: Any) -> None:
    made = machine()
    frames = made.receive(
        frame("run_started", executionId="E")
        + frame("step_output", stepId="a")
        + frame("step_completed", stepId="a", output=1)
        + frame("step_completed", stepId="b", output=2)
    )
    assert [item.checkpoint for item in frames] == [
        Checkpoint("E", 0, {}),
        None,
        Checkpoint("E", 1, {"a": 1}),
        Checkpoint("E", 2, {"a": 1, "b": 2}),
    ]


def test_an_outputs_dict_that_was_given_is_never_changed(frame: Any) -> None:
    given_outputs = {"a": 1}
    made = StepMachine(StepRequest(), checkpoint=Checkpoint("E", 1, given_outputs))
    made.next_body()
    assert made.checkpoint.outputs is given_outputs
    made.receive(frame("step_completed", stepId="b", output=2))
    assert given_outputs == {"a": 1}


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1]", b'"x"', b"null", b'{"a":1}}', b'{"a":' * 5000 + b"1" + b"}" * 5000]
)
def test_broken_json_in_control_frames_is_an_error_after_what_came_before(data: bytes, frame: Any) -> None:
    for name in (
        "run_started",
        "flow_started",
        "step_completed",
        "step_paused",
        "step_paused_for_tool_calls",
        "step_error",
        "flow_completed",
    ):
        made = machine()
        block = b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
        frames = made.receive(frame("step_output", stepId="a") + block)
        assert [item.type for item in frames] == ["step_output"]
        assert isinstance(made.failure, StreamProtocolError)
        assert name in str(made.failure)


@pytest.mark.parametrize("name", ["step_output", "step_started", "new_type", ""])
def test_broken_json_elsewhere_is_kept_as_text(name: str, caplog: pytest.LogCaptureFixture) -> None:
    made = machine()
    block = f"event: {name}\ndata: {'é' * 1500}\n\n".encode()
    (item,) = made.receive(block)
    assert item.type == (name or "message")
    assert item.payload == {"malformed": "é" * 1000}
    assert json.loads(item.data) == item.payload
    assert item.event() is None
    assert made.failure is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.records[0].name == "noukai_sdk.streaming"


@pytest.mark.parametrize(
    ("sent", "payload"),
    [
        (b'{"a": NaN, "b": [-Infinity, 1.5]}', {"a": None, "b": [None, 1.5]}),
        (b'{"a": "\\ud83d"}', {"a": "\ufffd"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": "tab\there"}', {"a": "tab\there"}),
        (b'{"a":\ndata: 1}', {"a": 1}),
        (b'{"a": "NaN"}', {"a": "NaN"}),
    ],
)
def test_nearly_json_is_made_strict(sent: bytes, payload: dict[str, Any]) -> None:
    def strict(constant: str) -> None:
        raise AssertionError(constant)

    made = machine()
    (item,) = made.receive(b"event: step_output\ndata: " + sent + b"\n\n")
    assert item.payload == payload
    assert json.loads(item.data.decode(), parse_constant=strict) == payload
    assert b"\n" not in item.data
    assert not item.malformed


def test_deep_json_is_kept() -> None:
    deep = b'{"stepId":"a","output":' + b"[" * 400 + b"]" * 400 + b"}"
    made = machine()
    (item,) = made.receive(b"event: step_completed\ndata: " + deep + b"\n\n")
    assert json.loads(item.data)["output"] == json.loads(deep)["output"] == made.outputs["a"]


def test_the_type_may_be_inside() -> None:
    made = machine()
    frames = made.receive(
        b'data: {"eventType":"step_output"}\n\ndata: {"x":1}\n\nevent: mine\ndata: {"eventType":"step_error"}\n\n'
        b'data: {"eventType":"flow_completed"}\n\n'
    )
    assert [item.type for item in frames] == ["step_output", "message", "mine", "flow_completed"]
    assert made.state is State.FINISHED


@pytest.mark.parametrize("step_id", [None, "", [], True, 1.5])
def test_a_completed_step_without_a_name_cannot_be_acted_on(step_id: Any, frame: Any) -> None:
    made = machine()
    assert made.receive(frame("step_completed", stepId=step_id)) == []
    assert isinstance(made.failure, StreamProtocolError)
    assert made.step_index == 0


def test_a_number_is_a_name(frame: Any) -> None:
    made = machine()
    made.receive(frame("step_completed", stepId=7, output=1))
    assert made.outputs == {"7": 1}


def test_a_tool_pause(tool_pause: Any, turns: Any) -> None:
    made = machine()
    for chunk in tool_pause[0].chunks:
        made.receive(chunk)
    assert made.state is State.TOOLS
    assert not made.answered
    result = {"role": "tool", "toolCallId": "c1", "content": "sunny"}
    made.answer([result])
    body = made.next_body()
    assert (body["executionId"], body["stepIndex"], body["iterationsUsed"]) == ("E", 0, 1)
    assert body["toolCallMessages"] == [*turns, result]
    assert "message" not in body
    made.receive(tool_pause[1].chunks[0])
    assert made.next_body()["iterationsUsed"] == 0
    with pytest.raises(RuntimeError, match="pending"):
        made.answer([result])


def test_a_tool_pause_with_odd_members(frame: Any) -> None:
    made = machine()
    made.receive(frame("run_started", executionId="E"))
    made.receive(
        frame(
            "step_paused_for_tool_calls",
            stepIndex=None,
            iterationsUsed="?",
            toolCallMessages=[],
            toolCalls=None,
            accumulatedOutputs=None,
        )
    )
    assert made.state is State.TOOLS
    assert made.checkpoint == Checkpoint("E", 0, {})
    assert made.pause is not None
    assert made.pause.iterations_used == 0


def test_a_tool_pause_moves_the_cursor_to_where_it_says(frame: Any) -> None:
    made = machine()
    pause = {"executionId": "E2", "stepIndex": 4, "toolCallMessages": [], "accumulatedOutputs": {"a": 1}}
    made.receive(frame("step_paused_for_tool_calls", **pause))
    assert made.checkpoint == Checkpoint("E2", 4, {"a": 1})


@pytest.mark.parametrize("missing", ["executionId", "toolCallMessages"])
def test_a_tool_pause_that_cannot_be_answered(missing: str, frame: Any) -> None:
    made = machine()
    pause = {"executionId": "E", "stepIndex": 0, "toolCallMessages": []}
    made.receive(frame("step_paused_for_tool_calls", **{k: v for k, v in pause.items() if k != missing}))
    assert isinstance(made.failure, StreamProtocolError)


def test_a_frame_too_large(frame: Any) -> None:
    for chunks in ([frame("step_output", x="y" * 500)], [b"event: a\ndata: ", b"y" * 300, b"y" * 300]):
        made = machine(max_frame_bytes=400)
        before = made.receive(frame("step_output", stepId="a") + chunks[0])
        for chunk in chunks[1:]:
            made.receive(chunk)
        assert [item.type for item in before] == ["step_output"]
        assert isinstance(made.failure, FrameTooLargeError)


def test_a_step_0_that_was_cut_off_gets_its_input_again(frame: Any) -> None:
    request = StepRequest(message="hi", parameters={"p": 1}, attachments=[{"kind": "url"}], run_remaining=True)
    first = StepMachine(request, checkpoint=Checkpoint("E", 0, {})).next_body()
    assert (first["executionId"], first["message"], first["parameters"]) == ("E", "hi", {"p": 1})
    later = StepMachine(request, checkpoint=Checkpoint("E", 1, {"a": 1})).next_body()
    assert later == {
        "executionId": "E",
        "stepIndex": 1,
        "accumulatedOutputs": {"a": 1},
        "parameters": {},
        "inputOverrides": {},
        "runRemaining": True,
        "iterationsUsed": 0,
        "trace": False,
    }


_PIECES = st.sampled_from(
    [
        b'event: run_started\ndata: {"executionId":"E"}\n\n',
        b'event: step_started\ndata: {"stepId":"a","stepIndex":0}\n\n',
        b'event: step_output\ndata: {"stepId":"a","outputData":"x"}\n\n',
        b'event: step_output\ndata: {"a": NaN}\n\n',
        b"event: step_output\ndata: {broken\n\n",
        b'event: step_completed\r\ndata: {"stepId":"a","output":1,"costUsd":0.5}\r\n\r\n',
        b'event: step_completed\ndata: {"stepId":"b",\ndata: "output":2}\n\n',
        b'data: {"eventType":"step_progress"}\n\n',
        b'event: new_type\ndata: {"x":"\xc3\xa9"}\n\n',
        b": ping\n\n",
        b"event: step_paused\ndata: {}\n\n",
        b'event: flow_completed\ndata: {"result":1}\n\n',
        b"event: flow_completed\ndata: {broken\n\n",
    ]
)


@given(st.lists(_PIECES, max_size=8).map(b"".join), st.lists(st.integers(0, 500), max_size=8), st.integers(0, 3))
def test_any_chunking_gives_the_same(body: bytes, cuts: list[int], missing: int) -> None:
    body = body[: len(body) - missing]
    cuts = sorted(min(cut, len(body)) for cut in cuts)
    chunks = [body[a:b] for a, b in pairwise([0, *cuts, len(body)])]
    expected = fed(body)
    assert fed(body, chunks) == expected
    assert fed(body, [body[i : i + 1] for i in range(len(body))]) == expected
