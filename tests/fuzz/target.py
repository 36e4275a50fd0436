"""What the fuzzer tries: any bytes as the answers to a flow's requests. tests/unit/sdk/test_fuzz_target.py runs the seeds."""

from __future__ import annotations

from noukai_sdk._protocol.sse import SSEDecoder
from noukai_sdk.testing import sse
from tests.support import event_stream
from tests.support.conversation import check, speak

# Between the body of one answer and the next, in an input.
NEXT = b"\x1e"
_LIMIT = 1 << 16


def one_input(data: bytes) -> None:
    """Raises AssertionError, or what escapes the client, if something is wrong. The first byte says how all is cut."""
    if not data:
        return
    size, bodies = 1 + data[0] % 16, data[1:].split(NEXT)
    for body in bodies:
        events, overflow = decoded([body], _LIMIT)
        assert not overflow
        assert events == event_stream.read(body)
        assert decoded(pieces(body, size), _LIMIT) == (events, False)
        small = 8 * size
        assert decoded([body], small) == decoded(pieces(body, size), small)
    answers_tools = data[0] >= 128
    whole = speak([[body] for body in bodies], answers_tools=answers_tools, at_most=8)
    check(whole)
    cut = speak([pieces(body, size) for body in bodies], answers_tools=answers_tools, at_most=8)
    assert whole.rounds == cut.rounds
    assert repr(whole.error) == repr(cut.error)
    assert [(frame.type, frame.data) for frame in whole.frames] == [(frame.type, frame.data) for frame in cut.frames]


def decoded(chunks: list[bytes], limit: int) -> tuple[list[event_stream.Event], bool]:
    decoder = SSEDecoder(limit)
    events = [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.end()
    return [(name, data.decode("utf-8", "replace")) for name, data in events], decoder.overflow


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


_STEP = (
    sse("run_started", executionId="E") + sse("step_started", stepId="a") + sse("step_completed", stepId="a", output=1)
)
_PAUSE = sse("step_paused", executionId="E", stepIndex=0)
_TOOLS = sse(
    "step_paused_for_tool_calls",
    executionId="E",
    stepId="a",
    stepIndex=0,
    iterationsUsed=1,
    toolCallMessages=[{"role": "user", "content": "é"}],
    toolCalls=[{"id": "c"}],
    accumulatedOutputs={"a": None},
)
_END = sse("step_completed", stepId="b", output="é") + sse("flow_completed", result=1)
SEEDS = [
    b"\x00" + _STEP + _PAUSE + NEXT + _END,
    b"\x83" + _TOOLS + NEXT + _STEP + _END,
    b"\x05" + (_STEP + _PAUSE + NEXT + _END).replace(b"\n", b"\r\n"),
    b"\x07\xef\xbb\xbf" + (_STEP + _END).replace(b"\n", b"\r"),
    b"\x02: ping\n\nid: 1\nretry: 5\n" + sse(None, {"eventType": "step_output", "outputData": [1.5, True]}),
    b"\x01event: step_output\ndata: {\ndata: \"a\": NaN}\n\nevent: step_error\ndata: {\"error\": {\"code\": \"X\"}}",
    b"\x10event:step_paused \ndata:{}\n\n" + NEXT + b"event: x\ndata: {broken\n\n\xff\xfe",
]  # fmt: skip
