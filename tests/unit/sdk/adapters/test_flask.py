"""The Flask adapter: each request is a session, recorded or replayed (WIRE.md 6.9, 8.20)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import flask
import httpx
import pytest

from noukai_sdk import AsyncNoukai, Noukai, ReplayMissError, current_session_id
from noukai_sdk.adapters.flask import init_noukai_trace
from noukai_sdk.testing import Exchange, ScriptedTransport
from tests.support.recordings import SESSION, run, session, step

RECORDED = step("a", "one"), step("b", "two")
DONE = {"status": "completed", "result": 1, "flowId": "F", "blockCount": 1, "executionId": "E"}


@pytest.fixture(autouse=True)
def _replay_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUKAI_REPLAY_ENABLED", "1")


class Site:
    """An application with the adapter, its client's scripted server, and what was seen at the end of a request."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self.service = ScriptedTransport(exchanges)
        http = httpx.Client(transport=self.service)
        client = Noukai("nk_test", base_url="http://localhost", http_client=http, max_retries=0)
        flow = client.flow("acme/it/two-step")
        self.app = flask.Flask("site")
        self.seen: list[str | None] = []
        init_noukai_trace(self.app, client=client)

        @self.app.get("/execute")
        def execute() -> list[Any]:
            return [current_session_id(), flow.execute("hi").output]

        @self.app.get("/none")
        def none() -> list[Any]:
            return [current_session_id()]

        def lines() -> Iterator[str]:
            yield f"{current_session_id()};"
            try:
                for step in flow.steps("hi"):
                    yield f"{step.output};"
            finally:
                self.seen.append(current_session_id())

        @self.app.get("/stream")
        def stream() -> flask.Response:
            return flask.Response(lines())

        @self.app.get("/stream-with-context")
        def stream_with_context() -> flask.Response:
            return flask.Response(flask.stream_with_context(lines()))

        @self.app.get("/closing")
        def closing() -> flask.Response:
            response = flask.Response("x")
            response.call_on_close(lambda: self.seen.append(current_session_id()))
            return response

        @self.app.get("/boom")
        def boom() -> None:
            raise RuntimeError("boom")

    def get(self, path: str, replayed: str | None = SESSION) -> Any:
        headers = {} if replayed is None else {"X-Noukai-Replay": replayed}
        response = self.app.test_client().get(path, headers=headers)
        # Whoever reads the response is not in its scope, nor is the next request of this thread.
        assert current_session_id() is None
        return response


def test_a_request_is_recorded_as_one_session() -> None:
    site = Site([Exchange.json(DONE)])
    response = site.get("/execute", None)
    own, output = response.json
    assert output == 1
    assert response.headers["x-noukai-session"] == own == site.service.requests[0].headers["x-session-id"]
    assert Site([]).get("/none", None).json not in ([None], [own])


def test_a_request_with_the_header_is_replayed() -> None:
    site = Site([session(run("E", "execute", *RECORDED))])
    response = site.get("/execute")
    assert response.json == [SESSION, "two"]
    assert response.headers["x-noukai-session"] == SESSION
    assert [request.method for request in site.service.requests] == ["GET"]


def test_without_permission_the_header_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOUKAI_REPLAY_ENABLED")
    assert Site([]).get("/none", "not a uuid").json not in ([None], [SESSION])


@pytest.mark.parametrize("path", ["/stream", "/stream-with-context"])
def test_streamed_responses_run_in_the_scope(path: str) -> None:
    site = Site([session(run("S", "step", *RECORDED))])
    assert site.get(path).text == f"{SESSION};one;two;"
    assert site.seen == [SESSION]


@pytest.mark.parametrize("is_read", [False, True])
def test_what_a_response_does_on_closing_is_done_once_in_the_scope(is_read: bool) -> None:
    site = Site([])
    response = site.get("/closing", None)
    if is_read:
        assert response.text == "x"
    response.close()
    assert site.seen == [response.headers["x-noukai-session"]]


@pytest.mark.parametrize("path", ["/stream", "/stream-with-context"])
def test_a_stream_that_is_given_up_ends_in_its_scope(path: str, caplog: pytest.LogCaptureFixture) -> None:
    site = Site([session(run("S", "step", *RECORDED), run("S2", "step"))])
    response = site.app.test_client().get(path, headers={"X-Noukai-Replay": SESSION}, buffered=False)
    pieces = response.iter_encoded()
    assert [next(pieces), next(pieces)] == [f"{SESSION};".encode(), b"one;"]
    assert current_session_id() is None
    response.close()
    assert site.seen == [SESSION]
    # A reader that leaves is no fault of the recording.
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("exchange", "status", "name"),
    [
        (Exchange.json({"detail": "why"}, 400), 400, "replay_invalid_session"),
        (Exchange.json({"detail": "why"}, 403), 403, "replay_forbidden"),
        (Exchange.json({"detail": "why"}, 404), 404, "replay_session_not_found"),
        (Exchange.json({"detail": "why"}, 410), 410, "replay_session_expired"),
        (session(run("why", "step", snapshotsAvailable=False)), 409, "replay_no_snapshots"),
    ],
)
def test_a_session_that_cannot_be_replayed_is_answered_in_json(exchange: Exchange, status: int, name: str) -> None:
    response = Site([exchange]).get("/none")
    assert (response.status_code, response.json["error"]) == (status, name)
    assert response.headers["content-type"] == "application/json"
    assert "why" in response.json["message"]


def test_a_session_id_that_is_none_is_answered_without_a_request() -> None:
    response = Site([]).get("/none", "zz")
    assert (response.status_code, response.json["error"]) == (400, "replay_invalid_session")


def test_a_miss_is_answered_in_json_if_nothing_was_sent_yet() -> None:
    response = Site([session()]).get("/execute")
    assert (response.status_code, response.json["error"]) == (500, "replay_error")
    assert response.headers["x-noukai-session"] == SESSION


def test_a_miss_within_a_stream_cuts_it_off() -> None:
    response = Site([session()]).get("/stream")
    with pytest.raises(ReplayMissError, match="0 run"):
        _ = response.text


def test_leftovers_are_logged_as_the_response_is_out(caplog: pytest.LogCaptureFixture) -> None:
    site = Site([session(run("E", "execute", *RECORDED))])
    with caplog.at_level(logging.ERROR, logger="noukai_sdk.adapters"):
        response = site.get("/none")
    assert (response.status_code, response.json) == (200, [SESSION])
    assert "1 unconsumed run(s), E" in caplog.text


def test_an_error_of_the_application_is_left_alone() -> None:
    response = Site([session()]).get("/boom")
    assert (response.status_code, response.headers["x-noukai-session"]) == (500, SESSION)


def test_the_test_client_can_still_keep_the_request_context() -> None:
    site = Site([])
    with site.app.test_client() as client:
        client.get("/none?a=1")
        assert flask.request.args["a"] == "1"
        assert current_session_id() is None


def test_an_async_client_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a Noukai, not AsyncNoukai"):
        init_noukai_trace(flask.Flask("site"), client=AsyncNoukai("nk_test"))  # type: ignore[arg-type]
