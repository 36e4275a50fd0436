"""A caller who leaves: the step is not completed, the work stops, no task is left."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message

from noukai_worker.dev.flow_server import Chunks, Flow, Manner, Order, Step, create_app, running

SLOW = Flow(path="acme/test/slow", steps=(Step(id="quick"), Step(id="long", delay=3000)), outlives_caller=False)
CHATTY = Flow(
    path="acme/test/chatty", steps=(Step(id="talk", output="word " * 1000, chunks=Chunks(words=1, delay=0.01)),)
)


async def leave(app: ASGIApp, path: str, endpoint: str, gone: Callable[[bytes], Awaitable[bool]]) -> bytes:
    """Call the app as a server would; hang up once ``gone`` (asked with all that was sent) says so."""
    sent = b""
    body: list[Message] = [
        {
            "type": "http.request",
            "body": json.dumps({"message": "x", "runRemaining": True}).encode(),
            "more_body": False,
        }
    ]

    async def receive() -> Message:
        if body:
            return body.pop()
        while not await gone(sent):  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal sent
        sent += message.get("body", b"")

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": f"/api/v1/seq/{path}/{endpoint}",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer nk_x")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }
    async with asyncio.timeout(10):
        await app(scope, receive, send)
    return sent


def only_task() -> bool:
    return asyncio.all_tasks() == {asyncio.current_task()}


async def counts(app: ASGIApp) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://flows") as http:
        return dict((await http.get("/_control/counts")).json())


@pytest.mark.parametrize(
    ("flow", "until", "expected"),
    [
        (SLOW, b'"stepId":"long"', {"quick": (1, 1), "long": (1, 0)}),
        (CHATTY, b"step_output", {"talk": (1, 0)}),
    ],
)
def test_leaving_a_stream_stops_the_step(flow: Flow, until: bytes, expected: dict[str, tuple[int, int]]) -> None:
    async def scene() -> None:
        app = create_app(flows={flow.path: flow})

        async def gone(sent: bytes) -> bool:
            return until in sent

        sent = await leave(app, flow.path, "step", gone)
        assert b"flow_completed" not in sent
        assert only_task()
        (run,) = (await counts(app))["runs"].values()
        assert {name: (row["started"], row["completed"]) for name, row in run["steps"].items()} == expected
        assert run["status"] == "running"

    asyncio.run(scene())


def test_leaving_an_execute_stops_it_if_the_flow_says_so() -> None:
    async def scene() -> None:
        app = create_app(flows={SLOW.path: SLOW})

        async def gone(_: bytes) -> bool:
            return any("long" in run["steps"] for run in (await counts(app))["runs"].values())

        assert await leave(app, SLOW.path, "execute", gone) == b""
        assert only_task()
        (run,) = (await counts(app))["runs"].values()
        assert run["steps"]["long"] == {"started": 1, "resumed": 0, "completed": 0, "failed": 0}

    asyncio.run(scene())


@pytest.mark.parametrize("is_ordered", [False, True])
def test_an_execute_outlives_its_caller(is_ordered: bool) -> None:
    # By nature, or though its flow says that it does not.
    flow = Flow(
        path="acme/test/brief",
        steps=(Step(id="brief", gate="go"), Step(id="more")),
        orders=(Order(manner=Manner(outlive_client=True)),) if is_ordered else (),
        outlives_caller=not is_ordered,
    )

    async def scene() -> None:
        app = create_app(flows={flow.path: flow})

        async def gone(_: bytes) -> bool:
            return any("brief" in run["steps"] for run in (await counts(app))["runs"].values())

        assert await leave(app, flow.path, "execute", gone) == b""
        assert (await only_run(app))["status"] == "running"
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://flows") as http:
            await http.post("/_control/gates/go")
        async with asyncio.timeout(10):
            while not only_task():  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0)
        run = await only_run(app)
        assert run["status"] == "completed"
        assert {name: row["completed"] for name, row in run["steps"].items()} == {"brief": 1, "more": 1}

    async def only_run(app: ASGIApp) -> dict[str, Any]:
        (run,) = (await counts(app))["runs"].values()
        return dict(run)

    asyncio.run(scene())


def test_a_server_that_stops_does_not_wait_for_what_outlives_its_caller() -> None:
    flow = Flow(path="acme/test/long", steps=(Step(id="long", gate="never"),))
    with running(flows={flow.path: flow}) as server, httpx.Client(headers={"Authorization": "Bearer nk_x"}) as http:
        with pytest.raises(httpx.ReadTimeout):
            http.post(f"{server.base_url}/seq/{flow.path}/execute", json={"message": "x"}, timeout=0.2)
        (run,) = http.get(f"{server.url}/_control/counts").json()["runs"].values()
        assert run["status"] == "running"
        began = time.monotonic()
    assert time.monotonic() - began < 5


def test_leaving_during_an_ordered_delay_starts_nothing() -> None:
    flow = Flow(path="acme/test/late", steps=(Step(id="s"),), orders=(Order(manner=Manner(delay=3000)),))

    async def scene() -> None:
        app = create_app(flows={flow.path: flow})

        async def gone(_: bytes) -> bool:
            return True

        await leave(app, flow.path, "step", gone)
        assert (await counts(app))["runs"] == {}

    asyncio.run(scene())


def test_a_closed_connection_is_noticed_by_the_real_server(caller: Any) -> None:
    url = caller.url("acme/demo/load", "step")
    body = {"message": "leaver", "parameters": {"steps": 1, "events": 5000, "interval": 0.0}}
    with caller.http.stream("POST", url, json=body) as answer:
        next(answer.iter_bytes())
    # Had the first stream not been stopped, it would be over before a second one of the same length.
    assert caller.events("acme/demo/load", **body | {"message": "stayer"})[-1][0] == "flow_completed"
    (left,) = caller.counts(message="leaver")["runs"].values()
    (stayed,) = caller.counts(message="stayer")["runs"].values()
    assert left["steps"]["load-1"] == {"started": 1, "resumed": 0, "completed": 0, "failed": 0}
    assert stayed["steps"]["load-1"] == {"started": 1, "resumed": 0, "completed": 1, "failed": 0}
