from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from fastapi import FastAPI, HTTPException, Request

from noukai_worker.client import Run
from noukai_worker.errors import InvalidRequest
from noukai_worker.runs import RunRequest, RunStore, State, operations
from noukai_worker.settings import Settings
from noukai_worker.web import router, serve, stream
from noukai_worker.web.refusals import install
from tests.support.processes import PATIENCE, Process, RedisServer, free_port, until

from .conftest import Writer, served

pytestmark = pytest.mark.integration

LIMIT = 5_000


class Enqueuer:
    """Stands for the client: records a run, sends nothing."""

    def __init__(self, url: str) -> None:
        self.store = RunStore(url)

    async def enqueue(
        self, flow: str, *, idempotency_key: str | None, delay: float = 0.0, priority: int = 0, **fields: Any
    ) -> Run:
        run_id = str(uuid.uuid5(uuid.NAMESPACE_URL, idempotency_key) if idempotency_key else uuid.uuid4())
        create = operations.create(
            run_id,
            RunRequest.build(LIMIT, flow=flow, **fields),
            token=uuid.uuid4().hex,
            retention=60,
            pickup=60,
            max_attempts=3,
            max_age=60,
            max_entries=100,
            delay=delay,
        )
        created = self.store.perform(create)
        return Run(created.run_id, created.token, created.new)

    async def cancel(self, run_id: str, *, reason: str | None = None) -> State:
        return self.store.perform(operations.cancel(run_id, reason=reason))


@dataclass
class Web:
    http: httpx.Client
    writer: Writer

    def follow(self, run_id: str, query: str = "", **headers: str) -> list[dict[str, str]]:
        """All events of a stream that ends."""
        response = self.http.get(f"/runs/{run_id}/events?token=t{query}", headers=headers)
        assert response.status_code == 200, response.text
        return parse(response.text)

    def refused(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        response = self.http.request(method, path, **options)
        detail = response.json()["detail"]
        assert set(detail) == {"code", "message"}
        assert detail["message"]
        return response.status_code, detail["code"]


@pytest.fixture
def web(redis_url: str, writer: Writer) -> Iterator[Web]:
    enqueuer = Enqueuer(redis_url)
    app = FastAPI()
    install(app)
    settings = Settings(redis_url=redis_url, max_input_bytes=LIMIT)
    app.include_router(router(settings, enqueue=enqueuer.enqueue, cancel=enqueuer.cancel))
    with contextlib.closing(enqueuer.store), served(app) as http:
        yield Web(http, writer)


def parse(text: str) -> list[dict[str, str]]:
    """Events as WHATWG has them, comments and `retry:` left out."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            events.append(fields)
    return events


def ids(events: list[dict[str, str]]) -> list[int]:
    return [int(event["id"]) for event in events]


def test_a_run_is_enqueued_shown_followed_and_cancelled(web: Web) -> None:
    answer = web.http.post("/runs", json={"flow": "acme/demo/hello", "message": "hi", "metadata": {"user": 7}})
    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/runs/{body['id']}"
    assert body == {
        "id": body["id"],
        "position": 0,
        "token": body["token"],
        "status": "queued",
        "events": f"/runs/{body['id']}/events",
    }

    bearer = {"Authorization": f"Bearer {body['token']}"}
    shown = web.http.get(f"/runs/{body['id']}", headers=bearer).json()
    assert body["token"] not in json.dumps(shown)
    assert shown == {
        "id": body["id"],
        "flow": "acme/demo/hello",
        "mode": "stream",
        "status": "queued",
        "attempt": 0,
        "position": 1,
        "created_at": shown["created_at"],
        "updated_at": shown["created_at"],
        "deadline": shown["deadline"],
        "step_index": 0,
        "step_count": None,
        "execution_id": None,
        "metadata": {"user": 7},
        "result": None,
        "error": None,
        "waiting_for": None,
    }

    cancel = f"/runs/{body['id']}/cancel"
    for _ in range(2):
        cancelled = web.http.post(cancel, headers=bearer, json={"reason": "enough"})
        assert (cancelled.status_code, cancelled.json()) == (202, {"id": body["id"], "status": "cancelled"})
    events = parse(web.http.get(body["events"], headers=bearer).text)
    assert [event["event"] for event in events] == ["run.queued", "run.cancelled"]
    assert json.loads(events[1]["data"])["data"] == {"reason": "enough"}


def test_a_stream_is_resumed_from_any_position(web: Web) -> None:
    run_id = web.writer.new()
    web.writer.write(run_id, 5)
    web.writer.end(run_id)
    events = web.follow(run_id)
    assert ids(events) == [*range(1, 9)]
    assert [event["event"] for event in events][-2:] == ["step_output", "run.completed"]
    assert [json.loads(event["data"])["seq"] for event in events] == [*range(1, 9)]
    assert ids(web.follow(run_id, "&after=6")) == [7, 8]
    assert ids(web.follow(run_id, "&starting_after=7")) == [8]
    assert ids(web.follow(run_id, "&after=2", **{"Last-Event-ID": "5"})) == [6, 7, 8]
    nothing = web.http.get(f"/runs/{run_id}/events?token=t&after=8")
    assert (nothing.status_code, nothing.content) == (204, b"")


def test_a_live_stream_has_proxy_headers_retry_and_comments(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_EVERY", 0.05)
    run_id = web.writer.new()
    with web.http.stream("GET", f"/runs/{run_id}/events?token=t") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        lines = response.iter_lines()
        assert next(lines).startswith("retry: ")
        assert ": keep-alive" in lines
        web.writer.write(run_id)
        assert "id: 3" in lines
        web.writer.end(run_id)
        assert "event: run.completed" in lines
        assert not [line for line in lines if line.startswith("id:")]


def test_what_turns_out_later_is_the_last_event(web: Web, redis_url: str) -> None:
    run_id = web.writer.new()
    with web.http.stream("GET", f"/runs/{run_id}/events?token=t") as response:
        lines = response.iter_lines()
        assert "id: 2" in lines
        with redis.Redis.from_url(redis_url) as client:
            client.delete(f"noukai:{{{run_id}}}:run", f"noukai:{{{run_id}}}:log")
        assert "event: stream.error" in lines
        data = next(lines)
        assert list(lines) == [""]
    assert json.loads(data.removeprefix("data: "))["code"] == "run_expired"


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Authorization": "Bearer t"}, ""),
        ({"authorization": "bearer t"}, ""),
        ({"X-Noukai-Token": "t"}, ""),
        ({"Cookie": "noukai_token=t"}, ""),
        ({}, "?token=t"),
        ({"Authorization": "Bearer of-the-application"}, "?token=t"),
    ],
)
def test_the_token_may_come_from_many_places(web: Web, headers: dict[str, str], query: str) -> None:
    run_id = web.writer.new()
    assert web.http.get(f"/runs/{run_id}{query}", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/runs/{}"), ("GET", "/runs/{}/events"), ("POST", "/runs/{}/cancel")]
)
def test_nothing_is_read_or_cancelled_without_the_token(web: Web, method: str, path: str) -> None:
    path = path.format(web.writer.new())
    assert web.refused(method, path) == (401, "token_required")
    assert web.refused(method, path + "?token=") == (401, "token_required")
    for foreign in ("T", "tt", "é", "%F0%9F%94%91"):
        assert web.refused(method, f"{path}?token={foreign}") == (403, "token_rejected")
    assert web.refused(method, "/runs/nobody" + path[41:]) == (404, "run_not_found")


def test_what_a_stream_cannot_give_is_said_before_it_starts(web: Web, redis_url: str) -> None:
    run_id = web.writer.new()
    events = f"/runs/{run_id}/events?token=t"
    assert web.refused("GET", f"{events}&after=3") == (400, "position_ahead")
    for nonsense in ("-1", "x", "1.5", "1e3", "\u0661", "9" * 30):
        assert web.refused("GET", f"{events}&after={nonsense}") == (400, "invalid_request")
    assert web.refused("GET", events, headers={"Last-Event-ID": "4"}) == (400, "position_ahead")

    long = web.writer.new(max_entries=100)
    for _ in range(10):
        web.writer.write(long, 100)
    assert web.refused("GET", f"/runs/{long}/events?token=t") == (410, "entries_trimmed")

    with redis.Redis.from_url(redis_url) as client:
        client.delete(f"noukai:{{{run_id}}}:run", f"noukai:{{{run_id}}}:log")
    assert web.refused("GET", events) == (410, "run_expired")


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"{", (400, "invalid_json")),
        (b"", (400, "invalid_json")),
        (b"[1]", (400, "invalid_json")),
        (b'{"flow": NaN}', (400, "invalid_json")),
        (b"\xff", (400, "invalid_json")),
        (b"[" * 2_000, (400, "invalid_json")),
        (b"{}", (422, "invalid_request")),
        (b'{"flow": 7}', (422, "invalid_request")),
        (b'{"flow": "no slug"}', (422, "invalid_request")),
        (b'{"flow": "a/b/c", "mode": "slow"}', (422, "invalid_request")),
        (b'{"flow": "a/b/c", "self": 1}', (422, "invalid_request")),
        (b'{"flow": "a/b/c", "idempotency_key": "k"}', (422, "invalid_request")),
        (b'{"flow": "a/b/c", "message": "%s"}' % (b"x" * LIMIT), (413, "payload_too_large")),
        (b'{"flow": "a/b/c", "message": "%s"}' % (b"x" * 200_000), (413, "payload_too_large")),
    ],
)
def test_a_bad_body_is_refused(web: Web, body: bytes, outcome: tuple[int, str]) -> None:
    json_type = {"Content-Type": "application/json"}
    assert web.refused("POST", "/runs", content=body, headers=json_type) == outcome
    chunked = (body[start : start + 1_000] for start in range(0, len(body), 1_000))
    assert web.refused("POST", "/runs", content=chunked, headers=json_type) == outcome


def test_a_form_of_another_origin_is_refused(web: Web) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"Content-Type": kind}
        refused = web.refused("POST", "/runs", content=b'{"flow": "acme/demo/hello"}', headers=headers)
        assert refused == (415, "unsupported_media_type")


def test_other_mistakes_look_alike(web: Web) -> None:
    assert web.refused("GET", "/nothing") == (404, "not_found")
    assert web.refused("DELETE", "/runs") == (405, "method_not_allowed")
    run_id = web.writer.new()
    for body in ({"reason": 1}, {"why": "x"}):
        assert web.refused("POST", f"/runs/{run_id}/cancel?token=t", json=body) == (422, "invalid_request")
    web.writer.end(run_id)
    assert web.refused("POST", f"/runs/{run_id}/cancel?token=t") == (409, "run_finished")


def test_an_idempotency_key_gives_the_same_run(web: Web) -> None:
    order = {"flow": "acme/demo/hello", "message": "hi"}
    key = {"Idempotency-Key": "1"}
    first, second = (web.http.post("/runs", json=order, headers=key).json() for _ in range(2))
    assert first == second
    assert web.refused("POST", "/runs", json={**order, "message": "ho"}, headers=key) == (409, "idempotency_conflict")
    for bad in ("", "x" * 256):
        refused = web.refused("POST", "/runs", json=order, headers={"Idempotency-Key": bad})
        assert refused == (400, "invalid_request")


def test_a_mounting_application_says_who_asks(redis_url: str) -> None:
    def identify(request: Request) -> str | None:
        user = request.headers.get("x-user")
        if user == "banned":
            raise HTTPException(402, "pay first")
        return user

    enqueuer = Enqueuer(redis_url)
    app = FastAPI()
    settings = Settings(redis_url=redis_url)
    app.include_router(router(settings, identify=identify, open=True, enqueue=enqueuer.enqueue), prefix="/api")
    with contextlib.closing(enqueuer.store), served(app) as http:

        def order(user: str, key: str) -> httpx.Response:
            headers = {"X-User": user, "Idempotency-Key": key}
            return http.post("/api/runs", json={"flow": "acme/demo/hello"}, headers=headers)

        same = [order("a", "b:c"), order("a", "b:c")]
        other = [order("a:b", "c"), order("b", "b:c")]
        assert same[0].json() == same[1].json()
        assert len({answer.json()["id"] for answer in [*same, *other]}) == 3
        assert same[0].headers["location"] == f"/api/runs/{same[0].json()['id']}"
        assert http.get(same[0].headers["location"]).json()["status"] == "queued"  # open: no token
        assert order("banned", "x").status_code == 402
        unknown = order("", "x")
        assert (unknown.status_code, unknown.json()["detail"]["code"]) == (401, "identity_required")
        assert http.get("/api/runs/nobody").json()["detail"]["code"] == "run_not_found"


def test_without_redis_everything_says_so_and_health_stays(own_server: RedisServer) -> None:
    writer = Writer(own_server.url)
    app = FastAPI()
    app.include_router(router(Settings(redis_url=own_server.url)))
    with contextlib.closing(writer.store), served(app) as http:
        web, run_id = Web(http, writer), writer.new()
        assert http.get("/readyz").json() == {"status": "ready"}
        own_server.stop()
        for path in ("/readyz", f"/runs/{run_id}?token=t", f"/runs/{run_id}/events?token=t"):
            assert web.refused("GET", path) == (503, "store_unavailable")
            assert str(own_server.port) not in http.get(path).text
        assert http.get("/healthz").json() == {"status": "ok"}


def connected(http: httpx.Client, path: str) -> socket.socket:
    """A client that asks for a stream and then takes nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((http.base_url.host, http.base_url.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def subscribers(url: str, run_id: str) -> Callable[[], int]:
    def count() -> int:
        with redis.Redis.from_url(url) as client:
            return int(client.pubsub_numsub(f"noukai:{{{run_id}}}:events")[0][1])

    return count


def test_a_client_that_leaves_frees_its_reader_and_leaves_the_run_alone(web: Web, redis_url: str) -> None:
    run_id = web.writer.new()
    count = subscribers(redis_url, run_id)
    clients = [connected(web.http, f"/runs/{run_id}/events?token=t") for _ in range(3)]
    until(lambda: count() == 1, "the hub subscribes")
    for client in clients:
        client.close()
    until(lambda: count() == 0, "the hub unsubscribes")
    assert web.http.get(f"/runs/{run_id}?token=t").json()["status"] == "running"


def test_a_client_that_takes_nothing_is_dropped(
    web: Web, redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream, "STALLED_AFTER", 0.3)
    run_id = web.writer.new()
    count = subscribers(redis_url, run_id)
    caplog.set_level("INFO", logger="noukai_worker")
    with connected(web.http, f"/runs/{run_id}/events?token=t") as client:
        until(lambda: count() == 1, "the hub subscribes")
        for _ in range(40):
            web.writer.write(run_id, 100, size=2_000)
        until(lambda: count() == 0, "the reader is dropped")
        # The server lets go a moment after the hub has: what was on its way, and no end of the response.
        client.settimeout(PATIENCE)
        *_, last = iter(lambda: client.recv(1 << 16), b"")
    assert not last.endswith(b"0\r\n\r\n")
    assert "takes nothing" in caplog.text


class WebProcess(Process):
    """`serve` as a process."""

    def __init__(self, folder: Path, url: str) -> None:
        self.port = free_port()
        code = f"from noukai_worker.web import serve; serve(port={self.port})"
        super().__init__([sys.executable, "-c", code], folder / "web.log", {"NOUKAI_REDIS_URL": url})

    def start(self) -> None:
        super().start()
        until(lambda: "Listening on" in self.output(), "the web process starts")


def test_the_served_application(redis_url: str, writer: Writer, tmp_path: Path) -> None:
    process = WebProcess(tmp_path, redis_url)
    try:
        process.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{process.port}", timeout=20, trust_env=False) as http:
            order = {"flow": "acme/demo/hello", "message": "hi", "priority": 3}
            key = {"Idempotency-Key": "1"}
            first, second = (http.post("/runs", json=order, headers=key).json() for _ in range(2))
            assert first == second
            with redis.Redis.from_url(redis_url) as client:
                assert client.keys("*noukai.stream*")  # one message, in Celery's queue
            delayed = http.post("/runs", json={**order, "delay": -1})
            assert (delayed.status_code, delayed.json()["detail"]["code"]) == (422, "invalid_request")

            with http.stream("GET", f"{first['events']}?token={first['token']}") as response:
                lines = response.iter_lines()
                assert "event: run.queued" in lines
                began = time.monotonic()
                code = process.stop()
                assert list(lines)[-1] == ""  # ends as a stream should, so that the browser comes back
                assert time.monotonic() - began < 5
        assert code == 0
        assert first["token"] not in process.output()
        assert "Traceback" not in process.output()
        assert "ERROR" not in process.output()
    finally:
        process.stop()


def test_serve_refuses_what_cannot_be_served(redis_url: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(InvalidRequest, match=f"127.0.0.1:{port} .*another port"):
            serve("127.0.0.1", port, Settings(redis_url=redis_url))
    with pytest.raises(InvalidRequest, match="another address"):
        serve("no.such.host.invalid", 1, Settings(redis_url=redis_url))
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(InvalidRequest, match="NOUKAI_WORKER_WEB_OPEN"):
            serve(host, 0, Settings(redis_url=redis_url, web_open=True))
