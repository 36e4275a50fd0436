"""The ASGI middleware: each request is a session, recorded or replayed (WIRE.md 6.9, 8.20)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse

from noukai_sdk import AsyncNoukai, Noukai, ReplayMissError, current_session_id
from noukai_sdk.adapters.fastapi import NoukaiTraceMiddleware
from noukai_sdk.testing import Exchange, ScriptedTransport
from tests.support.recordings import SESSION, run, session, step

RECORDED = step("a", "one"), step("b", "two")
DONE = {"status": "completed", "result": 1, "flowId": "F", "blockCount": 1, "executionId": "E"}


@pytest.fixture(autouse=True)
def _replay_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUKAI_REPLAY_ENABLED", "1")


class Site:
    """An application with the middleware, its client's scripted server, and what background tasks saw."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self.service = ScriptedTransport(exchanges)
        http = httpx.AsyncClient(transport=self.service)
        client = AsyncNoukai("nk_test", base_url="http://localhost", http_client=http, max_retries=0)
        flow = client.flow("acme/it/two-step")
        self.app = FastAPI()
        self.app.add_middleware(NoukaiTraceMiddleware, client=client)
        self.seen: list[str | None] = []

        @self.app.get("/execute")
        async def execute() -> list[Any]:
            return [current_session_id(), (await flow.execute("hi")).output]

        @self.app.get("/none")
        async def none(tasks: BackgroundTasks) -> str | None:
            tasks.add_task(lambda: self.seen.append(current_session_id()))
            return current_session_id()

        @self.app.get("/thread")
        def thread() -> str | None:
            return current_session_id()

        @self.app.get("/boom")
        async def boom() -> None:
            raise RuntimeError("boom")

        async def lines() -> AsyncIterator[str]:
            yield f"{current_session_id()};"
            async for event in flow.events("hi"):
                if hasattr(event, "output"):
                    yield f"{event.output};"

        def plain_lines() -> Iterator[str]:
            yield f"{current_session_id()};"
            yield f"{current_session_id()};"

        self.app.get("/stream")(lambda: StreamingResponse(lines()))
        self.app.get("/plain-stream")(lambda: StreamingResponse(plain_lines()))

    def get(self, path: str, replayed: str | None = SESSION) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://site") as http:
                return await http.get(path, headers={} if replayed is None else {"X-Noukai-Replay": replayed})

        return asyncio.run(send())


def test_a_request_is_recorded_as_one_session() -> None:
    site = Site([Exchange.json(DONE)])
    response = site.get("/execute", None)
    own, output = response.json()
    assert output == 1
    assert response.headers["x-noukai-session"] == own == site.service.requests[0].headers["x-session-id"]
    assert Site([]).get("/none", None).json() not in {None, own}


@pytest.mark.parametrize("path", ["/none", "/thread"])
def test_background_tasks_and_threads_are_in_the_scope(path: str) -> None:
    site = Site([])
    response = site.get(path, None)
    assert response.headers["x-noukai-session"] == response.json()
    assert site.seen == ([response.json()] if path == "/none" else [])


def test_a_request_with_the_header_is_replayed() -> None:
    site = Site([session(run("E", "execute", *RECORDED))])
    response = site.get("/execute")
    assert response.json() == [SESSION, "two"]
    assert response.headers["x-noukai-session"] == SESSION
    assert [request.method for request in site.service.requests] == ["GET"]


def test_without_permission_the_header_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOUKAI_REPLAY_ENABLED")
    site = Site([])
    assert site.get("/none", "not a uuid").json() not in {None, SESSION}


def test_streamed_responses_run_in_the_scope() -> None:
    site = Site([session(run("S", "step", *RECORDED))])
    assert site.get("/stream").text == f"{SESSION};one;two;"
    response = Site([]).get("/plain-stream", None)
    own = response.headers["x-noukai-session"]
    assert response.text == f"{own};{own};"


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
    assert (response.status_code, response.json()["error"]) == (status, name)
    assert response.headers["content-type"] == "application/json"
    assert "why" in response.json()["message"]


def test_a_session_id_that_is_none_is_answered_without_a_request() -> None:
    response = Site([]).get("/none", "zz")
    assert (response.status_code, response.json()["error"]) == (400, "replay_invalid_session")


def test_a_miss_is_answered_in_json_if_nothing_was_sent_yet() -> None:
    response = Site([session()]).get("/execute")
    assert (response.status_code, response.json()["error"]) == (500, "replay_error")
    assert "0 run(s)" in response.json()["message"]


def test_a_miss_within_a_stream_cuts_it_off() -> None:
    with pytest.raises(ReplayMissError, match="0 run"):
        Site([session()]).get("/stream")


def test_leftovers_are_logged_as_the_response_is_out(caplog: pytest.LogCaptureFixture) -> None:
    site = Site([session(run("E", "execute", *RECORDED))])
    with caplog.at_level(logging.ERROR, logger="noukai_sdk.adapters"):
        response = site.get("/none")
    assert (response.status_code, response.json()) == (200, SESSION)
    assert "1 unconsumed run(s), E" in caplog.text


def test_an_error_of_the_application_is_left_alone() -> None:
    site = Site([session(run("E", "execute", *RECORDED))])
    with pytest.raises(RuntimeError, match="boom"):
        site.get("/boom")


def test_what_is_no_http_request_passes_through() -> None:
    passed: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append((scope["type"], current_session_id()))

    async def nothing(*_: Any) -> Any:
        return {}

    middleware = NoukaiTraceMiddleware(app, client=AsyncNoukai("nk_test"))
    asyncio.run(middleware({"type": "lifespan"}, nothing, nothing))
    assert passed == [("lifespan", None)]


def test_a_sync_client_is_refused() -> None:
    with pytest.raises(TypeError, match="must be an AsyncNoukai, not Noukai"):
        NoukaiTraceMiddleware(FastAPI(), client=Noukai("nk_test"))  # type: ignore[arg-type]
