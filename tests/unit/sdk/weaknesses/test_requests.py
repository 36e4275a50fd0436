"""WIRE.md 8.1, 8.2, 8.13, 8.18, 8.21: what is sent, how often, where to, and to nobody else."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest

from noukai_sdk import (
    APIConnectionError,
    APIResponseError,
    AsyncNoukai,
    FlowExecutionError,
    Noukai,
    NoukaiError,
)
from noukai_sdk.testing import Exchange
from tests.support.sockets import END, HEAD, Call, Server, three_steps

LATER = {"Retry-After": "0"}


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    # The jitter of the pauses between tries, which is a factor.
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)


@pytest.mark.usefixtures("no_pauses")
def test_a_post_is_sent_again_only_if_nothing_came_of_it(side: Any) -> None:
    undone = [Exchange.failing("refused"), Exchange.refusal(429, "RATE_LIMIT"), Exchange.json({}, 503, LATER)]
    result, transport = side.execute([*undone, Exchange.completed("paid once")], options={"max_retries": 3})
    assert result.output == "paid once"
    assert len(transport.requests) == 4
    stream = Exchange.stream(b"event: flow_completed\ndata: {}\n\n")
    played = side.play([*undone, stream], options={"max_retries": 3})
    assert (played.types, len(played.transport.requests)) == (["flow_completed"], 4)


@pytest.mark.parametrize("failure", [500, 502, 503, 504, 408, "reset", "read_timeout"])
def test_a_post_of_unknown_outcome_is_sent_once_and_says_so(side: Any, failure: Any) -> None:
    exchange = Exchange.failing(failure) if isinstance(failure, str) else Exchange.json({}, failure)
    flow, transport = side.flow([exchange] * 3, max_retries=3)
    for call in (flow.execute, flow.execute_async):
        with pytest.raises(NoukaiError) as caught:
            side.get(call("hi"))
        assert caught.value.sent is True
    assert len(transport.requests) == 2
    played = side.play([exchange], options={"max_retries": 3})
    assert isinstance(played.error, NoukaiError)
    assert (played.error.sent, len(played.transport.requests)) == (True, 1)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("failure", [500, 429, "reset", "refused"])
def test_a_get_is_sent_again(side: Any, failure: Any) -> None:
    exchange = Exchange.failing(failure) if isinstance(failure, str) else Exchange.json({}, failure)
    flow, transport = side.flow([exchange, Exchange.json({"status": "running"})], max_retries=1)
    assert side.get(flow.job("E").poll()).status == "running"
    assert len(transport.requests) == 2


def test_no_retries_are_none_and_fewer_are_a_mistake(side: Any) -> None:
    flow, transport = side.flow([Exchange.json({}, 503, LATER)] * 3, max_retries=0)
    for call in (flow.job("E").poll, flow.run("E").trace, flow.execute):
        with pytest.raises(FlowExecutionError):
            side.get(call())
    assert len(transport.requests) == 3
    for client in (Noukai, AsyncNoukai):
        with pytest.raises(ValueError, match="max_retries must be a whole number from 0 on"):
            client("nk_x", max_retries=-1)


def test_zero_is_zero_and_negative_is_a_mistake_wherever_seconds_are_taken(side: Any) -> None:
    flow, transport = side.flow([])
    job, run = flow.job("E"), flow.run("E")
    calls = (flow.execute, flow.execute_async, job.poll, run.trace, lambda **options: run.step_trace("s", **options))
    for call in calls:
        with pytest.raises(APIConnectionError) as caught:
            side.get(call(timeout=0))
        assert caught.value.sent is False
        with pytest.raises(ValueError, match="timeout must be a number of seconds from 0 on"):
            side.get(call(timeout=-1))
    for stream in (flow.steps, flow.events, run.live_trace):
        with pytest.raises(ValueError, match="timeout must be a number of seconds from 0 on"):
            stream(timeout=-1)
    flow, _ = side.flow([], timeout=0)
    for call in (flow.execute, flow.job("E").poll):
        with pytest.raises(APIConnectionError, match="timeout=0"):
            side.get(call())
    assert transport.requests == []


EVIL = "e/../../../keys?x=1#y %2f\\"
QUOTED = "e%2F..%2F..%2F..%2Fkeys%3Fx%3D1%23y%20%252f%5C"


def test_an_id_stays_within_its_segment_on_the_wire(live: Any, server: Server) -> None:
    targets: list[str] = []

    async def answer(call: Call) -> None:
        targets.append(call.target)
        if call.target.endswith("/stream"):
            await call.write(HEAD + END)
        else:
            await call.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    async def script() -> None:
        async with live.flow(server.url) as flow:
            run = flow.run(EVIL)
            for answer in (flow.job(EVIL).poll, run.trace, lambda: run.step_trace(EVIL, attempt="all", loop_index=0)):
                with pytest.raises(NoukaiError):
                    await live.get(answer())
            await live.all(run.live_trace())

    server.answer = answer
    asyncio.run(script())
    base = "/api/v1/seq/acme/it/weak"
    assert targets == [
        f"{base}/jobs/{QUOTED}",
        f"{base}/runs/{QUOTED}/trace",
        f"{base}/runs/{QUOTED}/steps/{QUOTED}/trace?attempt=all&loop_index=0",
        f"{base}/runs/{QUOTED}/trace/stream",
    ]


@pytest.mark.parametrize("bad", ["../x/..", "a/../c", "c?x=1", "c#", "..", ".", "c%2e", "c d", "c\n", "ç", ""])
@pytest.mark.parametrize("client", [Noukai, AsyncNoukai])
def test_no_name_can_be_more_than_a_name(client: Any, bad: str) -> None:
    for names in (("org", bad, "p", "s"), ("project", "o", bad, "s"), ("slug", "o", "p", bad)):
        _, org, project, slug = names
        with pytest.raises(ValueError, match=r"not valid|Kwargs form|either"):
            client("nk_x").flow(org=org, project=project, slug=slug)
        with pytest.raises(ValueError, match=r"not valid|of the form"):
            client("nk_x").flow(f"{org}/{project}/{slug}")
        if names[0] != "slug":
            with pytest.raises(ValueError, match=r"not valid|together"):
                client("nk_x", org=org, project=project)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_that_says_so_and_is_not_followed(side: Any, status: int) -> None:
    elsewhere = Exchange.json({"x": 1}, status, {"Location": "https://elsewhere.example/"})
    flow, transport = side.flow([elsewhere] * 3)
    stream = side.play([elsewhere]).error
    errors = [stream]
    for call in (flow.execute, flow.job("E").poll, flow.job("E").wait):
        with pytest.raises(APIResponseError) as caught:
            side.get(call())
        errors.append(caught.value)
    for error in errors:
        assert type(error) is APIResponseError
        assert str(error) == f"HTTP {status}: redirected to https://elsewhere.example/; set base_url to the API itself"
    assert len(transport.requests) == 3


def test_a_client_that_follows_redirects_does_not_take_the_key_along(side: Any) -> None:
    flow, transport = side.flow([Exchange.json({}, 307, {"Location": "https://elsewhere.example/"})] * 2)
    http = side.client(transport)._http_client
    http.follow_redirects = True
    for call in (flow.execute, flow.job("E").poll):
        with pytest.raises(APIResponseError):
            side.get(call())
    assert {request.url.host for request in transport.requests} == {"localhost"}


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_of_the_environment_sees_a_request_to_this_machine(
    live: Any, server: Server, monkeypatch: pytest.MonkeyPatch, variable: str, host: str
) -> None:
    async def answer(call: Call) -> None:
        body = b'{"status":"completed","flowId":"F"}'
        if "stepIndex" in call.body:
            await three_steps(call)
        else:
            await call.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def script() -> None:
        url = server.url.replace("127.0.0.1", host)
        async with live.flow(url, timeout=5) as flow:
            assert len(await live.all(flow.steps())) == 3
        async with live.relay_flow(url) as relayed:
            assert (await live.get(relayed.execute("hi"))).status == "completed"

    server.answer = answer
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        asyncio.run(script())
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_a_log_that_raises_costs_no_call(side: Any, caplog: pytest.LogCaptureFixture) -> None:
    def log(_: Any) -> None:
        raise RuntimeError("disk full")

    result, transport = side.execute([Exchange.completed("done")], options={"log_handler": log})
    assert (result.output, len(transport.requests)) == ("done", 1)
    assert "disk full" in caplog.text
