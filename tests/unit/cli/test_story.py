from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noukai_worker.cli.story import Story, Tone, one_line
from noukai_worker.runs import Entry, State


class Teller:
    """A story, and everything it has told."""

    def __init__(self) -> None:
        self.story = Story()
        self.lines: list[tuple[Tone, str]] = []
        self._seq = itertools.count(1)
        self.attempt = 0

    def tell(self, kind: str, **data: Any) -> list[str]:
        entry = Entry("r1", next(self._seq), kind, "2026-11-23T00:00:00.000Z", self.attempt, data, raw=b"{}")
        told = self.story.tell(entry)
        self.lines += [(line.tone, line.text) for line in told]
        return [line.text for line in told]


def started(teller: Teller, step: int = 0) -> list[str]:
    teller.attempt += 1
    return teller.tell("run.started", attempt=teller.attempt, resumed_at_step=step, worker="w@host")


def test_a_run_of_two_steps() -> None:
    teller = Teller()
    teller.tell("run.queued", flow="acme/demo/two-step", mode="stream", delay=0.0)
    assert teller.story.state is State.QUEUED
    started(teller)
    teller.tell("run_started", executionId="E", stepCount=2)
    teller.tell("step_started", stepId="a", name="A", stepIndex=0)
    assert (teller.story.steps, teller.story.step_count, teller.story.step) == (0, 2, "A")
    teller.tell("step_output", stepId="a", outputData="one ")
    teller.tell("step_output", stepId="a", outputData={"text": "two\nth"})
    assert teller.story.unfinished == "th"
    teller.tell("step_completed", stepId="a", name="A", output="one two\nth", durationMs=1234)
    assert (teller.story.steps, teller.story.step) == (1, None)
    teller.tell("step_started", stepId="b", name="B", stepIndex=1)
    teller.tell("step_completed", stepId="b", name="B", output="never streamed")
    teller.tell("flow_completed", result="never streamed")
    teller.tell("run.completed", result="never streamed", attempts=1)
    assert [text for _, text in teller.lines] == [
        "queued acme/demo/two-step (stream)",
        "attempt 1 on w@host",
        "step 1/2: A",
        "one two",
        "th",
        "done: A in 1.2 s",
        "step 2/2: B",
        "never streamed",
        "done: B",
        "completed",
    ]
    assert teller.story.state is State.COMPLETED


def test_a_result_that_nobody_has_seen_is_told() -> None:
    teller = Teller()
    started(teller)
    assert teller.tell("run.completed", result={"n": 1}) == ["{", '  "n": 1', "}", "completed"]


def test_a_takeover_keeps_the_finished_steps_and_says_where_it_goes_on() -> None:
    teller = Teller()
    started(teller)
    teller.tell("run_started", stepCount=3)
    for step in ("a", "b"):
        teller.tell("step_started", stepId=step)
        teller.tell("step_completed", stepId=step, output=step)
    teller.tell("step_started", stepId="c")
    teller.tell("step_output", stepId="c", outputData="half a sen")
    told = teller.tell("run.retrying", code="connection_lost", message="the service went away", attempt=1, delay=2.5)
    assert told == ["half a sen", "attempt 1 ended: connection_lost: the service went away; again in 2.5 s"]
    assert teller.story.state is State.RETRYING
    assert started(teller, step=2) == ["attempt 2 on w@host, goes on at step 3"]
    assert (teller.story.steps, teller.story.step, teller.story.unfinished) == (2, None, "")
    assert teller.tell("step_started", stepId="c", stepIndex=0) == ["step 3/3: c"]
    assert teller.tell("run.completed", result="x")[-1] == "completed after 2 attempts"


@pytest.mark.parametrize(
    ("kind", "data", "line", "state"),
    [
        ("run.failed", {"code": "flow_not_found", "message": "no flow"}, "failed: flow_not_found: no flow", State.FAILED),
        ("run.cancelled", {}, "cancelled", State.CANCELLED),
        ("run.cancelled", {"reason": "too dear"}, "cancelled: too dear", State.CANCELLED),
        ("run.paused", {}, "paused: waits for tool results", State.PAUSED),
        ("run.resumed", {}, "resumed", State.QUEUED),
        ("run.retrying", {"code": "boom", "message": "m", "delay": 0, "redriven": True},
         "attempt 1 ended: boom: m; redriven", State.RETRYING),
        ("run.retrying", {"code": "worker_draining", "message": "m", "delay": 0},
         "attempt 1 ended: worker_draining: m; again at once", State.RETRYING),
        ("step_error", {"stepId": "a", "error": {"code": "X", "message": "y"}}, "step a failed: X: y", State.RUNNING),
        ("step_paused_for_tool_calls", {"toolCalls": [{"function": {"name": "get_weather"}}]},
         "asks for tools: get_weather", State.RUNNING),
    ],
)  # fmt: skip
def test_what_else_may_happen(kind: str, data: dict[str, Any], line: str, state: State) -> None:
    teller = Teller()
    started(teller)
    assert teller.tell(kind, **data) == [line]
    assert teller.story.state is state


def test_a_delay_is_told() -> None:
    assert Teller().tell("run.queued", flow="a/b/c", mode="execute", delay=90.0) == [
        "queued a/b/c (execute), due in 90 s"
    ]


def test_entries_of_the_future_are_passed_over() -> None:
    teller = Teller()
    assert teller.tell("run.rewound", x=1) == []
    assert teller.tell("step_input", stepId="a", inputData={}) == []
    assert teller.story.seq == 2


@given(st.text(alphabet="ab \n", max_size=40), st.data())
def test_pieces_do_not_matter(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(text)])]
    whole, cut = Teller(), Teller()
    for teller, parts in ((whole, [text]), (cut, pieces)):
        started(teller)
        teller.tell("step_started", stepId="a")
        for part in parts:
            teller.tell("step_output", stepId="a", outputData=part)
        teller.tell("step_completed", stepId="a", output=text)
    assert whole.lines == cut.lines


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "name", "function"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_SERVICE = ["run_started", "step_started", "step_output", "step_completed", "step_error", "step_paused_for_tool_calls"]
_FIELDS = ["stepId", "name", "stepCount", "outputData", "output", "durationMs", "error", "toolCalls"]


@given(st.lists(st.tuples(st.sampled_from(_SERVICE), st.dictionaries(st.sampled_from(_FIELDS), _JSON)), max_size=6))
def test_no_event_of_the_service_stops_the_story_or_reaches_the_terminal_raw(
    events: list[tuple[str, dict[str, Any]]],
) -> None:
    teller = Teller()
    started(teller)
    for kind, data in events:
        teller.tell(kind, **data)
    assert all(text.isprintable() for _, text in teller.lines)


def test_what_a_terminal_would_obey_is_not_sent() -> None:
    assert one_line("a\x1b[31mb\x07\n\tc\u202ed") == "a�[31mb�  c�d"
