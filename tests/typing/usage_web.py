"""Typed usage of sessions, adapters and the relay, checked by mypy (never run); see usage.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

import fastapi
import flask
import httpx

from noukai_sdk import (
    AsyncNoukai,
    AsyncRelayFlow,
    ChatMessage,
    ExecuteResult,
    Noukai,
    PausedResult,
    RelayExecuteTransport,
    RelayFlow,
    RelaySyncExecuteTransport,
    ReplayError,
    ReplayMissError,
    current_session_id,
    replay,
    replay_scope,
    replay_scope_sync,
)
from noukai_sdk.adapters.fastapi import NoukaiTraceMiddleware
from noukai_sdk.adapters.flask import init_noukai_trace
from noukai_sdk.adapters.relay import (
    DEFAULT_MAX_BODY_BYTES,
    DEFAULT_MAX_MESSAGES,
    DEFAULT_RELAY_PATH,
    RelayBounds,
    flow_relay_blueprint,
    mount_flow_relay,
)


def tools(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": "tool", "toolCallId": call["id"], "content": "sunny"} for call in calls]


async def async_tools(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return tools(calls)


async def scopes(client: Noukai, async_client: AsyncNoukai) -> None:
    with replay_scope_sync(replay_session_id="s", capture=False, transport=client) as scope:
        assert_type(scope.session_id, str | None)
        assert_type(scope.mode.value, str)
    async with replay_scope(transport=async_client) as async_scope:
        assert_type(async_scope.session_id, str | None)
    replay_scope_sync(transport=client._transport)
    replay_scope(transport=async_client._transport)
    assert_type(current_session_id(), str | None)
    replay_scope(transport=client)  # type: ignore[arg-type]
    replay_scope_sync(transport=async_client)  # type: ignore[arg-type]
    replay_scope_sync("s")  # type: ignore[call-arg]
    with replay_scope():  # type: ignore[attr-defined]
        pass


@replay
def length(text: str) -> int:
    return len(text)


@replay
async def async_length(text: str) -> int:
    return len(text)


@replay
def letters(text: str) -> Iterator[str]:
    yield from text


async def decorated() -> None:
    assert_type(length("abc"), int)
    assert_type(await async_length("abc"), int)
    assert_type(letters("abc"), Iterator[str])
    length(5)  # type: ignore[arg-type]
    async_length("abc").real  # type: ignore[attr-defined]


def errors(error: ReplayError) -> None:
    if isinstance(error, ReplayMissError):
        assert_type(error.sent, bool)


def adapters(app: fastapi.FastAPI, flask_app: flask.Flask, client: Noukai, async_client: AsyncNoukai) -> None:
    app.add_middleware(NoukaiTraceMiddleware, client=async_client)
    init_noukai_trace(flask_app, client=client)
    app.add_middleware(NoukaiTraceMiddleware, client=client)  # type: ignore[arg-type]
    init_noukai_trace(flask_app, client=async_client)  # type: ignore[arg-type]
    init_noukai_trace(flask_app)  # type: ignore[call-arg]


async def authorize(request: fastapi.Request) -> bool:
    return "x-user" in request.headers


def relay_servers(app: fastapi.FastAPI, flask_app: flask.Flask, client: Noukai, async_client: AsyncNoukai) -> None:
    mount_flow_relay(
        app,
        client=async_client,
        org="acme",
        project="demo",
        slug="greet",
        path=DEFAULT_RELAY_PATH,
        authorize=authorize,
        max_body_bytes=DEFAULT_MAX_BODY_BYTES,
        max_messages=DEFAULT_MAX_MESSAGES,
        version=3,
        allow=["attachments"],
        any_resume=True,
    )
    blueprint = flow_relay_blueprint(
        client=client, org="a", project="b", slug="c", authorize=lambda _: None, bounds=RelayBounds(max_messages=5)
    )
    assert_type(blueprint, flask.Blueprint)
    flask_app.register_blueprint(blueprint)
    mount_flow_relay(app, client=async_client, org="a", project="b", slug="c")  # type: ignore[call-arg]
    mount_flow_relay(app, client=client, org="a", project="b", slug="c", authorize=authorize)  # type: ignore[arg-type]
    flow_relay_blueprint(client=async_client, org="a", project="b", slug="c", authorize=print)  # type: ignore[arg-type]
    RelayBounds(max_messages="5")  # type: ignore[arg-type]


async def relay_clients(history: list[ChatMessage | dict[str, Any]]) -> None:
    with RelayFlow("https://app.example/agent", client=httpx.Client(), timeout=5) as flow:
        result = flow.execute(messages=history, tools=[{}], tool_handler=tools, max_tool_rounds=2, trace=True)
        assert_type(result, ExecuteResult | PausedResult)
        flow.execute("hi", tool_handler=async_tools)  # type: ignore[arg-type]
        flow.execute("hi", version=3)  # type: ignore[call-arg]
    async with AsyncRelayFlow("https://app.example/agent", client=httpx.AsyncClient()) as async_flow:
        assert_type(await async_flow.execute("hi", tool_handler=async_tools), ExecuteResult | PausedResult)
    RelayFlow("https://app.example/agent", client=httpx.AsyncClient())  # type: ignore[arg-type]
    AsyncRelayFlow("https://app.example/agent", client=httpx.Client())  # type: ignore[arg-type]
    with RelaySyncExecuteTransport("https://app.example/agent") as transport:
        assert_type(transport.send({"message": "hi"}), tuple[int, dict[str, Any]])
    async with RelayExecuteTransport("https://app.example/agent") as async_transport:
        assert_type(await async_transport.send({"message": "hi"}), tuple[int, dict[str, Any]])
