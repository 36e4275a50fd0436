"""Where our client does otherwise than the published one, and why: the weaknesses that are answered.

`docs/compatibility.md` shows this table. An entry that is no difference any more fails its test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Departure:
    """`section` of WIRE.md tells the weakness, `reason` is one sentence for users, `outcome` what our client makes of it."""

    section: str
    reason: str
    outcome: Any


DEPARTURES = {
    "broken_streams.a_deadline": Departure(
        "8.5",
        "`events` and `steps` take a `timeout`, a deadline for the whole stream in seconds.",
        [{"caught": "APITimeoutError", "code": "DEADLINE_CLIENT", "execution_id": "<id 1>"}, 1],
    ),
    "broken_streams.a_page_instead_of_a_stream": Departure(
        "8.3",
        "A 200 that is no event stream is an error, not an empty stream.",
        {"caught": "NoukaiError", "status_code": 200, "request_id": "<id 1>"},
    ),
    "broken_streams.a_redirect_instead_of_a_stream": Departure(
        "8.18",
        "A redirect is an error that says so, not an empty stream.",
        {"caught": "NoukaiError", "status_code": 307, "request_id": "<id 1>"},
    ),
    "broken_streams.a_refusal_for_now": Departure(
        "1.4",
        "`retry_after` is read from the refusal of a stream, too.",
        ["RATE_LIMIT", 429, 7.0, 1],
    ),
    "broken_streams.an_unreadable_end": Departure(
        "8.3",
        "A stream that ends without its end is an error, never a success.",
        {"caught": "APIConnectionError", "execution_id": "<id 1>"},
    ),
    "broken_streams.an_unreadable_step": Departure(
        "8.6",
        "A step whose completion cannot be read ends the stream; it is not asked for, and paid for, again and again.",
        [{"caught": "APIConnectionError", "execution_id": "<id 1>"}, [0]],
    ),
    "broken_streams.cut_off": Departure(
        "8.3",
        "A stream that breaks off is an `APIConnectionError`, with a checkpoint to go on from.",
        [{"caught": "APIConnectionError", "execution_id": "<id 1>"}, [], 1],
    ),
    "broken_streams.no_answer_at_all": Departure(
        "8.3",
        "So is one that gets no answer.",
        [{"caught": "APIConnectionError"}, 1],
    ),
    "broken_streams.reset": Departure(
        "8.3",
        "So is one whose connection is reset.",
        [{"caught": "APIConnectionError"}, 1],
    ),
    "broken_streams.silence": Departure(
        "8.3",
        "Silence is an `APITimeoutError`.",
        [{"caught": "APITimeoutError", "execution_id": "<id 1>"}, 1],
    ),
    "clients.a_flow_given_as_a_dict": Departure(
        "7",
        "A `ValueError` that says what `flow` takes.",
        {"caught": "ValueError"},
    ),
    "clients.an_environment_that_is_misspelt": Departure(
        "8.21",
        "An unknown `env` is a `ValueError`; it does not mean production.",
        {"caught": "ValueError"},
    ),
    "clients.an_id_that_climbs_out_of_its_place": Departure(
        "8.13",
        "Ids are quoted: none can lead to another address.",
        {"caught": "NoukaiError", "status_code": 404, "code": "NOT_FOUND", "request_id": "<id 1>"},
    ),
    "clients.a_name_that_cuts_the_path_off": Departure(
        "8.13",
        "A name that cannot be one is a `ValueError` when the flow is made; no request goes elsewhere.",
        {"caught": "ValueError"},
    ),
    "jobs.a_poll_that_is_cut_off": Departure(
        "8.17",
        "`wait` outlasts polls whose connection fails.",
        "completed",
    ),
    "jobs.polls_that_are_throttled": Departure(
        "8.17",
        "`wait` outlasts 429, as long as the service asks for.",
        "completed",
    ),
    "jobs.waiting_no_longer_than_asked": Departure(
        "8.17",
        "`wait` keeps its `timeout`: the last pause is cut short.",
        {"caught": "APITimeoutError", "code": "DEADLINE_CLIENT", "execution_id": "<id 1>", "in time": True},
    ),
    "playback.a_scope_without_a_client": Departure(
        "8.20",
        "Playing back without a client is a `ReplayError` that says what to pass.",
        {"caught": "ReplayError"},
    ),
    "playback.a_session_with_a_job": Departure(
        "8.20",
        "Jobs in a session are nobody's leftovers: no call could ask for them.",
        {"returned": "str"},
    ),
    "playback.events_played_back": Departure(
        "6.9",
        "Recorded durations are played back, too.",
        [
            ["run_started", {"run_id": "<id 1>", "execution_id": "<id 1>", "flow_id": "<id 2>", "step_count": 2}],
            ["step_started", {"step_id": "step-a", "step_index": 0}],
            [
                "step_completed",
                {"step_id": "step-a", "output": {"text": "a: x"}, "duration_ms": "<ms>", "step_index": 0},
            ],
            ["step_started", {"step_id": "step-b", "step_index": 1}],
            [
                "step_completed",
                {"step_id": "step-b", "output": {"text": "b: a: x"}, "duration_ms": "<ms>", "step_index": 1},
            ],
            ["flow_completed", {"execution_id": "<id 1>", "result": {"text": "b: a: x"}}],
        ],
    ),
    "playback.failures_played_back": Departure(
        "6.9",
        "A stream that failed is played back as it was: `step_error` is its last event.",
        [
            {"caught": "FlowExecutionError", "code": "MODEL_OVERLOADED", "execution_id": "<id 1>"},
            [
                "run_started",
                "step_started fine 0",
                "step_completed fine 0",
                "step_started broken 1",
                "step_error broken",
            ],
        ],
    ),
    "playback.steps_played_back": Departure(
        "6.9",
        "`steps` gives in playback what it gives live.",
        ["step_completed step-a 0", "step_completed step-b 1"],
    ),
    "refusals.a_page_instead_of_a_result": Departure(
        "6.6",
        "An answer that is no result is an `APIResponseError`; no error of pydantic's escapes.",
        {"caught": "NoukaiError", "status_code": 200, "request_id": "<id 1>"},
    ),
    "refusals.another_object_instead_of_a_result": Departure(
        "6.6",
        "The same for JSON that is no result.",
        {"caught": "NoukaiError", "status_code": 200, "request_id": "<id 1>"},
    ),
    "refusals.a_redirect": Departure(
        "8.18",
        "A redirect is an `APIResponseError` that says where to, not a failed execution.",
        {"escaped": "noukai_sdk.APIResponseError", "asked": 1},
    ),
    "refusals.throttled_until_a_date": Departure(
        "1.4",
        "A `Retry-After` that is a date is understood.",
        0.0,
    ),
    "sending.a_log_handler_that_raises": Departure(
        "8.21",
        "A broken log does not break a call.",
        {"returned": "ExecuteResult", "asked": 1},
    ),
    "sending.a_proxy_for_the_world_outside": Departure(
        "8.21",
        "Proxies are not asked for this machine's own addresses.",
        "completed",
    ),
    "sending.no_retries": Departure(
        "8.2",
        "`max_retries=0` means none.",
        {
            "caught": "FlowExecutionError",
            "status_code": 503,
            "code": "INTERNAL_ERROR",
            "request_id": "<id 1>",
            "asked": 1,
        },
    ),
    "sending.no_time_for_a_client": Departure(
        "8.2",
        "`timeout=0` means no time, as it does for a call.",
        {"caught": "APITimeoutError"},
    ),
    "sending.put_off_by_the_server": Departure(
        "8.1",
        "429, and 503 with `Retry-After`, say that nothing was done: the call is sent again.",
        [["completed", "completed"], 4],
    ),
    "sending.reading_over_a_connection_that_is_cut": Departure(
        "8.1",
        "Reading is tried again when its connection fails.",
        "completed",
    ),
    "stream_tools.unanswered_in_an_async_stream": Departure(
        "8.6",
        "Tool calls that nobody answers end the stream; the step is not begun again and again.",
        [["run_started", "step_started answer 0", "step_paused_for_tool_calls answer 0"], 1],
    ),
    "tools.a_handler_that_returns_text": Departure(
        "6.6",
        "Tool results that are no list are a `TypeError`, as `None` is; no error of pydantic's escapes.",
        {"caught": "TypeError"},
    ),
    "tools.resumed_twice": Departure(
        "8.16",
        "A pause is answered once: the second resume is a `RuntimeError`, and nothing is sent.",
        {"escaped": "RuntimeError", "asked": 2},
    ),
    "tools.the_session_after_a_resume": Departure(
        "8.16",
        "The result of a resume knows its session.",
        ["s-1", "s-1", ["s-1", "s-1"]],
    ),
}
