"""The step protocol with generated payloads: nothing but its own errors, and no request twice without progress."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from noukai_sdk.testing import sse
from tests.support.conversation import check, speak

many = settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))

ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        10**30,
        float("nan"),
        float("inf"),
        "",
        "a",
        "\ud800",
        "x" * 50,
        [],
        [1],
        [{}],
        {},
        {"a": [None]},
    ]
)
JSON = st.one_of(
    ODD,
    ODD,
    st.recursive(
        st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
)
CONTROL = ["run_started", "step_completed", "step_paused", "step_paused_for_tool_calls", "step_error", "flow_completed"]
QUIET = ["flow_started", "step_started", "step_output", "step_input", "step_progress", "x"]

# Members as the service sends them, often, so that a conversation gets somewhere; anything else, often enough.
USUAL = {
    "executionId": ["E", "F"],
    "stepId": ["a", "b", 1],
    "stepIndex": [0, 1, 2, 3],
    "iterationsUsed": [0, 1, 2],
    "toolCallMessages": [[], [{"role": "user", "content": "x"}]],
    "toolCalls": [[{"id": "c"}]],
    "accumulatedOutputs": [{"a": 1}],
    "eventType": [*CONTROL, *QUIET],
}
OTHERS = [
    "runId",
    "stepCount",
    "name",
    "output",
    "inputData",
    "outputData",
    "tokens",
    "costUsd",
    "durationMs",
    "error",
    "result",
]
MEMBER = st.one_of(
    st.sampled_from([(name, value) for name, values in USUAL.items() for value in values]),
    st.tuples(st.sampled_from([*USUAL, *OTHERS]), JSON),
)
PAYLOADS = st.builds(
    lambda base, members: base | dict(members),
    st.sampled_from([{"executionId": "E", "stepId": "a", "toolCallMessages": []}, {}]),
    st.lists(MEMBER, max_size=4),
)
# json.dumps writes NaN, Infinity and lone surrogates as a careless server would.
FRAMES = st.builds(
    lambda name, payload: sse(name, json.dumps(payload)),
    st.sampled_from([*QUIET, *QUIET, *CONTROL, None]),
    st.one_of(PAYLOADS, PAYLOADS, JSON),
)
TOOL_PAUSE = {
    "runId": "E",
    "executionId": "E",
    "stepId": "a",
    "stepIndex": 1,
    "iterationsUsed": 1,
    "toolCallMessages": [],
    "toolCalls": [],
    "accumulatedOutputs": {},
}
COMPLETED = {"stepId": "a", "stepIndex": 0, "output": 1, "costUsd": "1", "durationMs": 1, "tokens": {"total": 1}}
WHOLE = {"step_paused_for_tool_calls": TOOL_PAUSE, "step_completed": COMPLETED, "run_started": {"executionId": "E"}}
# Whole, but for one odd member.
ONE_ODD = st.builds(
    lambda place, odd: sse(place[0], json.dumps(WHOLE[place[0]] | {place[1]: odd})),
    st.sampled_from([(name, member) for name, payload in WHOLE.items() for member in payload]),
    JSON,
)
PROGRESS = [sse("step_completed", {"stepId": "a", "output": 1}), sse("step_paused", {})]
TOOLS = [sse("step_paused_for_tool_calls", TOOL_PAUSE)]
BODIES = st.lists(
    st.builds(
        list.__add__, st.lists(st.one_of(FRAMES, ONE_ODD), max_size=3), st.sampled_from([PROGRESS, PROGRESS, TOOLS, []])
    ),
    min_size=1,
    max_size=4,
)


@many
@given(BODIES, st.booleans(), st.booleans())
def test_whatever_a_server_sends(bodies: list[list[bytes]], answers_tools: bool, run_remaining: bool) -> None:
    spoken = speak(bodies, answers_tools=answers_tools, run_remaining=run_remaining)
    event(f"requests: {len(spoken.requests)}")
    event(f"ended by {type(spoken.error).__name__}")
    check(spoken)


@settings(many, max_examples=500)
@given(BODIES, st.booleans())
def test_a_conversation_does_not_depend_on_how_its_bytes_are_cut(
    bodies: list[list[bytes]], answers_tools: bool
) -> None:
    whole = speak([[b"".join(body)] for body in bodies], answers_tools=answers_tools)
    pieces = speak([[bytes([byte]) for byte in b"".join(body)] for body in bodies], answers_tools=answers_tools)
    assert whole.requests == pieces.requests
    assert repr(whole.error) == repr(pieces.error)
    assert [(frame.type, frame.data, frame.checkpoint) for frame in whole.frames] == [
        (frame.type, frame.data, frame.checkpoint) for frame in pieces.frames
    ]
