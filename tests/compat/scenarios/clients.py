"""Clients: how they are made, name flows, and close (WIRE.md 1, 6.2)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from noukai_sdk import (
    AuthenticationError,
    NoukaiError,
)

from .stage import KEY, Side, asked, caught, done, items, scenario

ECHO = "acme/compat/echo"


@contextmanager
def environment(**variables: str | None) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    try:
        put(variables)
        yield
    finally:
        put(before)


def put(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@scenario(
    [
        {"caught": "AuthenticationError"},
        {"caught": "AuthenticationError"},
        {"caught": "AuthenticationError"},
        "completed",
    ]
)
async def keys(side: Side) -> Any:
    with environment(NOUKAI_API_KEY=None):
        missing = await caught(AuthenticationError, lambda: side.client(None))
        empty = await caught(AuthenticationError, lambda: side.client(""))
    wrong = await caught(AuthenticationError, lambda: side.client("sk_1"))
    with environment(NOUKAI_API_KEY=KEY):
        outcome = await done(side.client(None).flow(ECHO).execute("x"))
    return [missing, empty, wrong, outcome.status]


@scenario(["completed", "completed"])
async def an_environment_by_argument(side: Side) -> Any:
    with environment(NOUKAI_ENV=None):
        flows = [side.client(env=env).flow(ECHO) for env in ("dev", "development")]
    return [(await done(flow.execute("x"))).status for flow in flows]


@scenario({"returned": "Noukai"})
async def an_environment_that_is_misspelt(side: Side) -> Any:
    return await caught(ValueError, lambda: side.client(env="staging"))


@scenario(
    [
        ["acme", "compat"],
        "completed",
        {"caught": "ValueError", "says 'together'": True},
        {"caught": "ValueError", "says 'together'": True},
        [None, None],
    ]
)
async def organisation_and_project(side: Side) -> Any:
    client = side.client(org="acme", project="compat")
    return [
        [client.default_org, client.default_project],
        (await done(client.flow("echo").execute("x"))).status,
        await caught(ValueError, lambda: side.client(org="acme"), says="together"),
        await caught(ValueError, lambda: side.client(project="compat"), says="together"),
        [side.client().default_org, side.client().default_project],
    ]


@scenario(
    [
        ["acme", "demo", "two-step", "Flow"],
        ["acme", "demo", "two-step", "Flow"],
        ["acme", "demo", "two-step", "Flow"],
        ["acme", "compat", "echo", "Flow"],
        ["acme", "demo", "two-step", "Flow"],
        [],
    ]
)
async def forms_of_flow(side: Side) -> Any:
    plain, bound = side.client(), side.client(org="acme", project="compat")
    flows = [
        plain.flow("acme/demo/two-step"),
        plain.flow(org="acme", project="demo", slug="two-step"),
        plain.flow("two-step", org="acme", project="demo"),
        bound.flow("echo"),
        bound.flow("acme/demo/two-step"),
    ]
    return [[flow.org, flow.project, flow.slug, type(flow).__name__.removeprefix("Async")] for flow in flows] + [
        asked()
    ]


@scenario(
    [
        {"caught": "ValueError", "says 'constructed with org and project'": True},
        {"caught": "ValueError", "says 'org/project/slug'": True},
        {"caught": "ValueError", "says 'org/project/slug'": True},
        {"caught": "ValueError", "says 'org/project/slug'": True},
        {"caught": "ValueError", "says 'either'": True},
        {"caught": "ValueError", "says 'Kwargs form requires'": True},
        {"caught": "ValueError"},
    ]
)
async def forms_of_flow_that_are_none(side: Side) -> Any:
    client = side.client()
    return [
        await caught(ValueError, lambda: client.flow("echo"), says="constructed with org and project"),
        await caught(ValueError, lambda: client.flow("acme/echo"), says="org/project/slug"),
        await caught(ValueError, lambda: client.flow("acme//echo"), says="org/project/slug"),
        await caught(ValueError, lambda: client.flow("a/b/c/d"), says="org/project/slug"),
        await caught(ValueError, lambda: client.flow("acme/compat/echo", org="acme"), says="either"),
        await caught(ValueError, lambda: client.flow("echo", org="acme"), says="Kwargs form requires"),
        await caught(ValueError, client.flow),
    ]


@scenario({"escaped": "AttributeError"})
async def a_flow_given_as_a_dict(side: Side) -> Any:
    client = side.client()
    return await caught(ValueError, lambda: client.flow({"org": "acme", "project": "compat", "slug": "echo"}))


@scenario({"escaped": "noukai_sdk.FlowNotFoundError"})
async def a_name_that_cuts_the_path_off(side: Side) -> Any:
    client = side.client()
    return await caught(ValueError, lambda: client.flow("acme/demo/hello-world?x=1").execute("x"))


@scenario({"returned": "Trace"})
async def an_id_that_climbs_out_of_its_place(side: Side) -> Any:
    flow = side.flow(ECHO)
    outcome = await done(flow.execute("x"))
    return await caught(NoukaiError, lambda: flow.run(f"x/../{outcome.execution_id}").trace())


@scenario([{"caught": "RuntimeError"}, {"caught": "RuntimeError"}, {"caught": "RuntimeError"}, 2])
async def closing(side: Side) -> Any:
    """Twice does no harm; calls after it are RuntimeErrors; `with` closes too."""
    client = side.client()
    flow = client.flow(ECHO)
    await done(flow.execute("x"))
    for _ in range(2):
        await done(client.close() if side.name == "sync" else client.aclose())
    after = await caught(RuntimeError, lambda: flow.execute("x"))
    streamed = await caught(RuntimeError, lambda: items(flow.steps("x")))
    if side.name == "sync":
        with side.client() as client:
            flow = client.flow(ECHO)
            await done(flow.execute("x"))
    else:
        async with side.client() as client:
            flow = client.flow(ECHO)
            await done(flow.execute("x"))
    return [after, streamed, await caught(RuntimeError, lambda: flow.execute("x")), len(asked())]
