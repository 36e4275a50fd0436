"""Which tests show the answer to which weakness of the published SDK (WIRE.md 8), sentence by sentence."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]

# File in tests/unit/sdk, or in tests: the tests that answer the sentences of that number, in their order.
ANSWERS: dict[int, dict[str, list[str]]] = {
    1: {  # no safe retry
        "weaknesses/test_requests.py": [
            "test_a_post_is_sent_again_only_if_nothing_came_of_it",
            "test_a_post_of_unknown_outcome_is_sent_once_and_says_so",
            "test_a_get_is_sent_again",
        ],
        "test_retry.py": [
            "test_what_is_tried_again",
            "test_waits_grow_and_are_jittered",
            "test_retry_after_is_a_floor",
        ],
        "test_jobs.py": ["test_a_submission_is_not_repeated_after_it_may_have_been_taken"],
    },
    2: {  # zero swallowed
        "weaknesses/test_requests.py": [
            "test_zero_is_zero_and_negative_is_a_mistake_wherever_seconds_are_taken",
            "test_no_retries_are_none_and_fewer_are_a_mistake",
        ],
        "test_retry.py": ["test_zero_means_zero"],
        "test_execute.py": ["test_zero_seconds_is_no_time_at_all", "test_the_limit_of_tool_rounds"],
        "test_streams.py": ["test_no_time_at_all"],
        "test_jobs.py": ["test_no_time_is_one_poll"],
        "test_config.py": ["test_bad_settings_name_the_remedy"],
    },
    3: {  # failures in the middle of a stream
        "weaknesses/test_broken_streams.py": [
            "test_a_stream_that_breaks_off_is_a_typed_error_and_goes_on_at_its_checkpoint",
            "test_a_connection_that_ends_instead_of_the_flow_is_never_a_success",
            "test_a_stream_that_nobody_serves_is_a_typed_error_and_was_not_sent",
        ],
        "test_sockets.py": ["test_a_stream_cut_off", "test_silence_is_bounded_by_the_client_s_timeout"],
        "test_streams.py": ["test_a_run_continues_at_its_checkpoint", "test_after_an_error_the_stream_is_over"],
        "test_connections.py": ["test_a_chunked_body_that_breaks"],
    },
    4: {  # framing
        "weaknesses/test_broken_streams.py": ["test_any_framing_of_the_standard_is_read"],
        "test_sse.py": ["test_whole_and_bytewise_agree_with_the_standard"],
        "test_sse_standard.py": ["test_streams_with_one_kind_of_line_end", "test_streams_with_mixed_line_ends"],
    },
    5: {  # no deadline
        "weaknesses/test_broken_streams.py": ["test_a_deadline_ends_a_stream_that_only_pings"],
        "test_sockets.py": [
            "test_a_deadline_holds_with_pings_and_without",
            "test_a_deadline_holds_while_waiting_for_the_answer",
        ],
    },
    6: {  # endless requests: (a), (c), (b)
        "weaknesses/test_flows.py": [
            "test_an_odd_member_costs_neither_its_event_nor_a_request",
            "test_no_server_gets_the_same_step_asked_for_again",
        ],
        "test_streams.py": ["test_tools_without_an_answer_end_the_stream", "test_tools_answered_later"],
        "test_machine_generated.py": ["test_whatever_a_server_sends"],
    },
    7: {  # noise
        "weaknesses/test_costs.py": ["test_nothing_is_printed_by_those_who_close_nothing"],
        "test_sockets.py": ["test_teardown_is_quiet"],
        "integration/sdk/test_ways_of_use.py": ["test_leaving_an_async_stream_says_nothing"],
    },
    8: {  # connections
        "weaknesses/test_costs.py": [
            "test_ten_steps_and_ten_streams_take_one_connection",
            "test_ten_steps_take_one_tls_handshake",
            "test_a_stream_that_is_left_can_be_closed_while_it_is_referenced",
        ],
        "test_sockets.py": ["test_leaving_at_the_last_event_keeps_the_connection"],
    },
    9: {  # quadratic and unbounded buffers
        "weaknesses/test_costs.py": [
            "test_a_frame_in_pieces_costs_time_in_proportion_to_its_size",
            "test_what_never_ends_is_given_up_at_the_bound_with_the_remedy",
        ],
        "test_sse.py": ["test_time_is_linear_in_the_frame", "test_nothing_larger_than_the_bound_is_kept"],
    },
    10: {  # outputs uploaded again and again
        "weaknesses/test_costs.py": [
            "test_the_whole_flow_in_one_request_uploads_no_output",
            "test_outputs_are_sent_again_where_the_protocol_wants_it_but_never_copied",
        ]
    },
    11: {  # construction and import
        "weaknesses/test_costs.py": [
            "test_importing_and_constructing_loads_no_http_library_and_no_models",
            "test_all_clients_share_one_tls_context",
        ],
        "test_config.py": ["test_further_clients_are_cheap"],
    },
    12: {  # the pool
        "weaknesses/test_costs.py": [
            "test_more_calls_than_a_hundred_are_under_way_at_once",
            "test_a_wait_for_the_pool_is_told_from_a_wait_for_the_answer",
        ],
        "test_connections.py": ["test_so_many_connections_and_no_more"],
        "integration/sdk/test_many_streams.py": ["test_a_thousand_streams_are_open_at_once"],
    },
    13: {  # path injection
        "weaknesses/test_requests.py": [
            "test_no_name_can_be_more_than_a_name",
            "test_an_id_stays_within_its_segment_on_the_wire",
        ],
        "test_paths.py": ["test_names_that_are_refused", "test_ids_are_quoted"],
    },
    14: {  # silent drops
        "weaknesses/test_flows.py": [
            "test_an_odd_member_costs_neither_its_event_nor_a_request",
            "test_an_odd_error_of_a_step_is_kept_and_ends_the_flow",
        ],
        "test_events.py": ["test_odd_fields_are_kept"],
        "test_machine.py": ["test_broken_json_in_control_frames_is_an_error_after_what_came_before"],
    },
    15: {  # failures that raise nothing
        "weaknesses/test_flows.py": [
            "test_a_failed_run_is_a_result_and_an_error_for_those_who_ask",
            "test_the_output_of_a_failed_step_cannot_be_read_by_mistake",
        ]
    },
    16: {  # pauses
        "test_pauses.py": [
            "test_a_pause_is_resumed_elsewhere_with_all_that_the_fresh_call_said",
            "test_a_pause_is_resumed_once_however_it_is_tried",
            "test_a_resume_that_the_server_did_not_take_may_be_repeated",
        ]
    },
    17: {  # jobs: words, errors, the deadline, what hangs, failures, the interval, re-attaching, call-backs
        "weaknesses/test_flows.py": [
            "test_any_word_is_a_status_of_a_job",
            "test_the_service_can_be_asked_to_call_back",
        ],
        "test_jobs.py": [
            "test_the_deadline_is_kept_and_has_a_last_poll",
            "test_a_server_that_hangs_cannot_hold_a_wait_past_its_deadline",
            "test_failures_that_may_pass_are_waited_out",
            "test_a_job_is_found_again_by_its_id",
            "test_a_job_from_its_start_to_its_end",
        ],
    },
    18: {  # redirects
        "weaknesses/test_requests.py": [
            "test_a_redirect_is_an_error_that_says_so_and_is_not_followed",
            "test_a_client_that_follows_redirects_does_not_take_the_key_along",
        ]
    },
    19: {  # the relay
        "test_relay_server.py": [
            "test_members_that_were_not_allowed_are_refused_by_name",
            "test_a_resume_that_was_changed_is_refused",
            "test_a_pause_belongs_to_its_flow_and_its_key_and_outlives_the_process",
            "test_messages_of_other_roles_are_refused",
            "test_authorize_refuses_by_a_false_value",
            "test_errors_of_the_service_come_back_with_the_headers_that_matter",
        ]
    },
    20: {  # replay: leftovers, jobs, transport, names; inputs are not compared, so what can be noticed is told
        "adapters/test_fastapi.py": ["test_leftovers_are_logged_as_the_response_is_out"],
        "adapters/test_flask.py": ["test_leftovers_are_logged_as_the_response_is_out"],
        "test_replay.py": [
            "test_a_session_with_a_job_can_be_replayed",
            "test_two_flows_of_one_name_and_truncated_values_are_told",
            "test_one_call_too_many_is_a_miss_and_nothing_is_sent",
            "test_what_is_left_is_told_at_the_end_but_does_not_hide_another_error",
            "test_calls_at_the_same_time_warn_and_calls_in_turn_do_not",
        ],
        "test_scopes.py": ["test_a_wrong_transport_is_told_with_the_remedy"],
    },
    21: {  # environment, log, proxy
        "weaknesses/test_requests.py": [
            "test_a_log_that_raises_costs_no_call",
            "test_no_proxy_of_the_environment_sees_a_request_to_this_machine",
        ],
        "test_config.py": [
            "test_bad_settings_name_the_remedy",
            "test_an_unknown_environment_variable_is_an_error_too",
            "test_log_events_and_a_handler_that_raises",
        ],
        "test_connections.py": ["test_a_proxy_of_the_environment_is_asked_for_the_tunnel"],
    },
    22: {"../benchmarks/sdk.py": ["main"]},  # throughput: measured beside the published SDK, in one run
}


def test_every_weakness_has_its_answers() -> None:
    assert list(ANSWERS) == list(range(1, 23))
    assert all(names for files in ANSWERS.values() for names in files.values())


@pytest.mark.parametrize("number", ANSWERS)
def test_the_answers_exist(number: int) -> None:
    for file, names in ANSWERS[number].items():
        place = next(place for place in (TESTS / "unit" / "sdk" / file, TESTS / file) if place.exists())
        functions = {node.name for node in ast.parse(place.read_text()).body if isinstance(node, ast.FunctionDef)}
        assert set(names) <= functions, file
