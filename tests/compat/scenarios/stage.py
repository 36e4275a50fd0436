"""What scenarios share: the client under test as either of its two sides, and the flow server behind it.

Nothing here or in a scenario needs more than the standard library and the names that `noukai_sdk` offers, so that any
interpreter with any package of that name can play them.
"""

from __future__ import annotations

import inspect
import json
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import noukai_sdk

KEY, BROKE_KEY, OTHER_KEY = "nk_compat", "nk_compat_broke", "nk_compat_other"
OTHER_PROJECT = "acme/demo"
#: What an error may know; left out where it does not.
KNOWN = ("status_code", "code", "request_id", "execution_id", "retry_after", "www_authenticate")
PORT = 8080
_CONTROL = f"http://localhost:{PORT}/_control"


class Side:
    """One of the two clients, "sync" or "async", and what it takes to use either in the same words."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._clients: list[Any] = []

    def client(self, api_key: str | None = KEY, **options: Any) -> Any:
        """A client, closed when the scenario ends."""
        client = (noukai_sdk.Noukai if self.name == "sync" else noukai_sdk.AsyncNoukai)(api_key, **options)
        self._clients.append(client)
        return client

    def flow(self, path: str, **options: Any) -> Any:
        return self.client(**options).flow(path)

    def handler(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A tool handler as this side prefers it: the async client gets a coroutine function."""
        if self.name == "sync":
            return function

        async def handle(calls: Any) -> Any:
            return function(calls)

        return handle

    async def resume(self, paused: Any, results: Any) -> Any:
        if self.name == "sync":
            return paused.resume_sync(tool_results=results)
        return await paused.resume(tool_results=results)

    def scope(self, **options: Any) -> Scope:
        return Scope((noukai_sdk.replay_scope_sync if self.name == "sync" else noukai_sdk.replay_scope)(**options))

    async def close(self) -> None:
        for client in self._clients:
            await done(client.close() if self.name == "sync" else client.aclose())


class Scope:
    """A replay scope of either side, for `async with`."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        if hasattr(self._manager, "__aenter__"):
            return await self._manager.__aenter__()
        return self._manager.__enter__()

    async def __aexit__(self, *raised: object) -> Any:
        if hasattr(self._manager, "__aexit__"):
            return await self._manager.__aexit__(*raised)
        return self._manager.__exit__(*raised)


@dataclass(frozen=True)
class Scenario:
    """A function that does something with the client, and the facts that must come of it."""

    play: Callable[[Side], Awaitable[Any]]
    expected: Any
    sides: tuple[str, ...]


SCENARIOS: dict[str, Scenario] = {}


def scenario(expected: Any, *, sides: tuple[str, ...] = ("sync", "async")) -> Callable[[Any], Any]:
    """Registers a scenario; `expected` is what the published client makes of it, in the runner's normal form."""

    def register(play: Any) -> Any:
        name = f"{play.__module__.rpartition('.')[2]}.{play.__name__}"
        assert name not in SCENARIOS, name
        SCENARIOS[name] = Scenario(play, expected, sides)
        return play

    return register


async def done(value: Any) -> Any:
    """The value, awaited if it must be."""
    return await value if inspect.isawaitable(value) else value


async def items(iterator: Any, at_most: int = 1000) -> list[Any]:
    """The items of either kind of iterator; no more than a number of them."""
    seen: list[Any] = []
    if hasattr(iterator, "__aiter__"):
        async for item in iterator:
            seen.append(item)
            if len(seen) == at_most:
                break
    else:
        for item in iterator:
            seen.append(item)
            if len(seen) == at_most:
                break
    return seen


async def caught(kind: type[BaseException], call: Callable[[], Any], *, says: str = "") -> dict[str, Any]:
    """What `except kind` around the call catches; whether the text holds `says`, and a NoukaiError's attributes."""
    try:
        returned = await done(call())
    except kind as error:
        facts: dict[str, Any] = {"caught": kind.__name__}
        if says:
            facts[f"says {says!r}"] = says in str(error)
        return facts | (_attributes(error) if isinstance(error, noukai_sdk.NoukaiError) else {})
    except Exception as error:
        return {"escaped": _name(error)}
    return {"returned": type(returned).__name__.removeprefix("Async")}


def refused(error: noukai_sdk.NoukaiError) -> dict[str, Any]:
    """A service's refusal as callers see it."""
    return {"caught": type(error).__name__, "message": error.message, **_attributes(error)}


def _attributes(error: Any) -> dict[str, Any]:
    return {name: value for name in KNOWN if (value := getattr(error, name, None)) is not None}


def _name(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def result(outcome: Any) -> dict[str, Any]:
    """An ExecuteResult or a PausedResult, by its public attributes."""
    names = ["status", "flow_id", "block_count", "execution_id", "session_id", "requires_tool_calls"]
    if outcome.requires_tool_calls:
        names += ["paused_at_step", "iterations_used", "tool_calls", "tool_call_messages", "accumulated_outputs"]
    else:
        names += ["result", "output"]
    return {name: getattr(outcome, name) for name in names}


def event(seen: Any) -> list[Any]:
    """An event: its type, and its members that are there."""
    members = {name: value for name, value in seen.model_dump(mode="json").items() if value is not None}
    return [members.pop("event_type"), members]


def brief(seen: Any) -> str:
    """An event in a word: its type, and where it happened."""
    return " ".join(
        str(value)
        for value in (seen.event_type, getattr(seen, "step_id", None), getattr(seen, "step_index", None))
        if value is not None
    )


def control(method: str, what: str, body: Any = None) -> Any:
    """Asks the flow server's control endpoint."""
    request = urllib.request.Request(
        f"{_CONTROL}/{what}", None if body is None else json.dumps(body).encode(), method=method
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return json.load(answer)


def order(*, times: int = 1, endpoint: str | None = None, **manner: Any) -> None:
    """Makes the server misbehave."""
    wanted = {"times": times, "endpoint": endpoint, "manner": manner}
    control("POST", "manners", {name: value for name, value in wanted.items() if value is not None})


def asked(kind: str = "requests") -> list[list[Any]]:
    """What the server was asked since the scenario began: endpoint, status, code. `kind` may be "reads"."""
    return [[entry["endpoint"], entry["status"], entry["code"]] for entry in control("GET", "counts")[kind]]


def forget() -> None:
    """Wipes what a scenario before has left at the server."""
    control("DELETE", "manners")
    control("DELETE", "counts")
    for gate in control("GET", "gates")["gates"]:
        control("DELETE", f"gates/{gate}")
