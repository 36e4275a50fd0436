"""`steps` and `events`: what is asked for, what comes, and what becomes of failures (WIRE.md 4)."""

from __future__ import annotations

from typing import Any

from noukai_sdk import FlowNotFoundError, NoukaiError, StepCompleted

from .stage import Side, asked, brief, caught, control, event, items, scenario

TWO_STEPS = "acme/demo/two-step"
ECHO = "acme/compat/echo"


def positions() -> list[Any]:
    """The step index of each request."""
    return [request["step_index"] for request in control("GET", "counts")["requests"]]


@scenario(
    [
        ["run_started", {"execution_id": "<id 1>", "flow_id": "<id 2>", "step_count": 2}],
        ["step_started", {"step_id": "step-a", "name": "A", "step_index": 0}],
        [
            "step_completed",
            {
                "step_id": "step-a",
                "name": "A",
                "output": {"text": "a: x"},
                "duration_ms": "<ms>",
                "tokens": {"prompt": 1, "completion": 3, "total": 4},
                "cost_usd": "0.000013",
                "step_index": 0,
            },
        ],
        ["step_paused", {"step_index": 0}],
        ["step_started", {"step_id": "step-b", "name": "B", "step_index": 1}],
        [
            "step_completed",
            {
                "step_id": "step-b",
                "name": "B",
                "output": {"text": "b: a: x"},
                "duration_ms": "<ms>",
                "tokens": {"prompt": 3, "completion": 4, "total": 7},
                "cost_usd": "0.000019",
                "step_index": 1,
            },
        ],
        ["flow_completed", {"execution_id": "<id 1>", "result": {"text": "b: a: x"}}],
        [0, 1],
    ]
)
async def every_event_of_two_steps(side: Side) -> Any:
    return [event(seen) for seen in await items(side.flow(TWO_STEPS).events("x"))] + [positions()]


@scenario(
    [
        [
            "run_started",
            "step_started step-a 0",
            "step_completed step-a 0",
            "step_started step-b 1",
            "step_completed step-b 1",
            "flow_completed",
        ],
        [0],
    ]
)
async def every_event_in_one_request(side: Side) -> Any:
    events = side.flow(TWO_STEPS).events("x", run_remaining=True)
    return [[brief(seen) for seen in await items(events)], positions()]


@scenario(
    [
        [
            "step_completed",
            {
                "step_id": "step-a",
                "name": "A",
                "output": {"text": "a: x"},
                "duration_ms": "<ms>",
                "tokens": {"prompt": 1, "completion": 3, "total": 4},
                "cost_usd": "0.000013",
                "step_index": 0,
            },
        ],
        [
            "step_completed",
            {
                "step_id": "step-b",
                "name": "B",
                "output": {"text": "b: a: x"},
                "duration_ms": "<ms>",
                "tokens": {"prompt": 3, "completion": 4, "total": 7},
                "cost_usd": "0.000019",
                "step_index": 1,
            },
        ],
        [0, 1],
    ]
)
async def steps_one_by_one(side: Side) -> Any:
    return [event(seen) for seen in await items(side.flow(TWO_STEPS).steps("x"))] + [positions()]


@scenario(
    [
        [{"prompt": "In every language: ελληνικά 🐝"}],
        ["Grüße ", "你好 ", "🦜 ", "ελληνικά ", "🐝"],
        ["Grüße 你好 🦜 ελληνικά 🐝"],
    ]
)
async def pieces_of_text_in_all_languages(side: Side) -> Any:
    """The prompt, the pieces, and the whole, with characters of one to four bytes."""
    seen = await items(side.flow("acme/compat/languages").events("ελληνικά 🐝"))
    return [
        [one.input_data for one in seen if one.event_type == "step_input"],
        [one.output_data for one in seen if one.event_type == "step_output"],
        [one.result for one in seen if one.event_type == "flow_completed"],
    ]


@scenario([["StepCompleted", "Grüße 你好 🦜 x"]])
async def what_the_guide_forwards(side: Side) -> Any:
    """`hasattr(event, "output")` is how the published guide picks what to show."""
    seen = await items(side.flow("acme/compat/languages").events("x"))
    return [[type(one).__name__, one.output] for one in seen if hasattr(one, "output")]


@scenario(
    [
        "run_started",
        "step_started laps 0",
        "step_completed laps 0",
        "step_paused 0",
        "step_started sum 1",
        "step_completed sum 1",
        "flow_completed",
    ]
)
async def a_loop(side: Side) -> Any:
    """Its laps are told by events that have no model."""
    return [brief(seen) for seen in await items(side.flow("acme/compat/laps").events("x"))]


@scenario(
    [
        [{"message": "x", "parameters": {"tone": "dry"}, "input": "x"}],
        [{"message": None, "parameters": {"tone": "dry"}, "input": None}],
        [{"message": "x", "parameters": {}, "input": "louder"}],
        [{"message": "x", "parameters": {}, "input": "x"}],
    ]
)
async def what_goes_in(side: Side) -> Any:
    flow = side.flow(ECHO)
    image = {"kind": "url", "url": "https://acme.example/cat.png", "mime_type": "image/png"}
    calls = [
        flow.steps("x", parameters={"tone": "dry"}, attachments=[image], trace=True),
        flow.steps(parameters={"tone": "dry"}),
        flow.steps("x", block_overrides={"say": {"prompt": "louder"}}),
        flow.events("x", version=2, run_remaining=True),
    ]
    return [[one.output for one in await items(call) if isinstance(one, StepCompleted)] for call in calls]


@scenario([{"text": "a: x"}, {"text": "b: mine"}])
async def outputs_of_earlier_steps_replaced(side: Side) -> Any:
    steps = side.flow(TWO_STEPS).steps("x", input_overrides={"step-a": {"text": "mine"}})
    return [seen.output for seen in await items(steps)]


@scenario([])
async def nothing_is_sent_before_the_first_item(side: Side) -> Any:
    flow = side.flow(TWO_STEPS)
    flow.events("x")
    flow.steps("x")
    return asked()


@scenario(
    [
        {"caught": "ValueError", "says 'step-through on draft'": True},
        {"caught": "ValueError", "says 'step-through on draft'": True},
        {"caught": "ValueError", "says 'Invalid version'": True},
        [],
    ]
)
async def drafts_are_refused_when_called(side: Side) -> Any:
    flow = side.flow(ECHO)
    return [
        await caught(ValueError, lambda: flow.steps("x", version="draft"), says="step-through on draft"),
        await caught(ValueError, lambda: flow.events("x", version=0), says="step-through on draft"),
        await caught(ValueError, lambda: flow.events("x", version=-1), says="Invalid version"),
        asked(),
    ]


@scenario(
    [
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "FLOW_NOT_FOUND", "request_id": "<id 1>"},
        {"caught": "NoukaiError", "status_code": 400, "code": "INVALID_VERSION", "request_id": "<id 2>"},
        [],
    ]
)
async def refusals_come_with_the_first_item(side: Side) -> Any:
    unknown, unpublished = side.flow("acme/compat/none").steps("x"), side.flow(ECHO).events("x", version=3)
    return [
        await caught(FlowNotFoundError, lambda: items(unknown)),
        await caught(NoukaiError, lambda: items(unpublished)),
        await items(unknown),
    ]


@scenario(["of-the-client", "of-the-client", "of-the-call", "of-the-call"])
async def sessions_of_streams(side: Side) -> Any:
    """Every request of a stream belongs to its session."""
    await items(side.flow(TWO_STEPS, session_id="of-the-client").steps("x"))
    await items(side.flow(TWO_STEPS, session_id="of-the-client").events("x", session_id="of-the-call"))
    return [request["session_id"] for request in control("GET", "counts")["requests"]]


@scenario(
    [
        [
            ["step_started", {"step_id": "broken", "name": "broken", "step_index": 1}],
            [
                "step_error",
                {"step_id": "broken", "name": "broken", "error": {"code": "MODEL_OVERLOADED", "message": "Busy."}},
            ],
        ],
        [
            "step_error",
            {"step_id": "broken", "name": "broken", "error": {"code": "MODEL_OVERLOADED", "message": "Busy."}},
        ],
    ]
)
async def a_step_that_fails(side: Side) -> Any:
    flow = side.flow("acme/compat/broken")
    return [
        [event(seen) for seen in await items(flow.events("x"))][-2:],
        [event(seen) for seen in await items(flow.steps("x"))][-1],
    ]


@scenario([[{"text": "a: x"}, {"text": "a: y"}, {"text": "b: a: y"}], [0, 0, 1]])
async def left_early(side: Side) -> Any:
    """The client is as good as before, and the next step was not asked for."""
    flow = side.flow(TWO_STEPS)
    first = await items(flow.steps("x"), at_most=1)
    again = await items(flow.steps("y"))
    return [[seen.output for seen in first + again], positions()]


@scenario([4, [], 1])
async def a_stream_that_has_ended(side: Side) -> Any:
    events = side.flow(ECHO).events("x")
    return [len(await items(events)), await items(events), len(asked())]
