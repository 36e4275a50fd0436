"""This room holds what a user opens around calls: scopes that record them as a session, or play one back (WIRE.md 6.9)."""

from __future__ import annotations

import functools
import inspect
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar, cast

from noukai_sdk._client import AsyncNoukai, Noukai
from noukai_sdk._config import replay_enabled
from noukai_sdk._errors import ReplayError
from noukai_sdk._own_context import OwnContext
from noukai_sdk._protocol.replay import read_session
from noukai_sdk._scope import Scope, ScopeMode, inside

Client = Noukai | AsyncNoukai
P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", Noukai, AsyncNoukai)
_log = logging.getLogger("noukai_sdk")


@asynccontextmanager
async def replay_scope(
    *, replay_session_id: str | None = None, capture: bool = True, transport: AsyncNoukai | None = None
) -> AsyncIterator[Scope]:
    """Calls in this scope belong to one session, unless they or their client name another.

    With a `replay_session_id`, and NOUKAI_REPLAY_ENABLED set to 1, that session is played back: `transport` (a client)
    reads it, and `execute`, `steps` and `events` are answered from it in the order of recording, without a request.
    Otherwise, with `capture`, they are recorded under a new session id; else nothing is changed.
    Gives an object with `mode` and `session_id`. A scope within a scope stands for itself.

    Raises ReplayError (ReplayMissError for a call that was not recorded, ReplayLeftoverError at the end if recorded runs
    were not asked for) and what reading the session raises; TypeError for a transport that is no such client.
    """
    client = _client(transport)
    replayed = _replayed(replay_session_id, client, AsyncNoukai)
    scope = _opened(replayed, client, capture)
    if replayed is not None:
        from noukai_sdk._drive import arun

        session_id, reader = replayed
        connection = reader._connection
        cassette = await arun(read_session(session_id, connection.config.max_retries), connection)
        scope = replace(scope, cassette=cassette)
    with _entered(scope, client):
        yield scope


@contextmanager
def replay_scope_sync(
    *, replay_session_id: str | None = None, capture: bool = True, transport: Noukai | None = None
) -> Iterator[Scope]:
    """As `replay_scope`, in a `with` statement, for a `Noukai`."""
    client = _client(transport)
    replayed = _replayed(replay_session_id, client, Noukai)
    scope = _opened(replayed, client, capture)
    if replayed is not None:
        from noukai_sdk._drive import run

        session_id, reader = replayed
        connection = reader._connection
        cassette = run(read_session(session_id, connection.config.max_retries), connection)
        scope = replace(scope, cassette=cassette)
    with _entered(scope, client):
        yield scope


def replay(fn: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function, coroutine function or generator function: each call of it is recorded as a session.

    A generator's scope lasts until the generator ends, and its consumer is never in it. Raises TypeError for what cannot
    be called.
    """
    if not callable(fn):
        raise TypeError(f"replay decorates functions, not {fn!r}; write it below @classmethod")
    if inspect.isasyncgenfunction(fn):
        decorated: Callable[..., Any] = _async_generator(fn)
    elif inspect.isgeneratorfunction(fn):
        decorated = _generator(fn)
    elif inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):
        decorated = _coroutine(fn)
    else:
        decorated = _plain(fn)
    return cast("Callable[P, R]", functools.wraps(fn)(decorated))


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with inside(_live_scope(capture=True)):
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        with inside(_live_scope(capture=True)):
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        def scoped() -> Generator[Any, Any, Any]:
            with inside(_live_scope(capture=True)):
                return (yield from function(*args, **kwargs))

        return (yield from OwnContext(scoped()))

    return call


def _async_generator(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        scope = _live_scope(capture=True)
        generator: AsyncGenerator[Any, Any] = function(*args, **kwargs)
        sent: Any = None
        error: BaseException | None = None
        try:
            while True:
                # Entered for each step, as an async generator runs in the context of whoever takes the step.
                with inside(scope):
                    item = await (generator.asend(sent) if error is None else generator.athrow(error))
                try:
                    sent, error = (yield item), None
                except GeneratorExit:
                    raise
                except BaseException as thrown:  # noqa: BLE001 -- the generator's to handle
                    error = thrown
        except StopAsyncIteration:
            return
        finally:
            with inside(scope):
                await generator.aclose()

    return call


def _client(transport: object) -> Client | None:
    if transport is None or isinstance(transport, Noukai | AsyncNoukai):
        return transport
    raise TypeError(f"transport must be a client, Noukai or AsyncNoukai, not {type(transport).__name__}")


def _replayed(session_id: str | None, client: Client | None, kind: type[C]) -> tuple[str, C] | None:
    """The session to play back, and the client to read it with; None if the calls are to be live."""
    if not session_id:
        return None
    if not replay_enabled():
        _log.info("NOUKAI_REPLAY_ENABLED is not set: session %.100r is not played back, calls are live", session_id)
        return None
    if client is None:
        raise ReplayError("to replay a session, somebody must read it: pass transport=client", sent=False)
    if not isinstance(client, kind):
        raise TypeError(f"this scope reads the session with {kind.__name__}, not with {type(client).__name__}")
    return str(session_id), client


def _live_scope(capture: bool) -> Scope:
    return Scope(ScopeMode.CAPTURE, str(uuid.uuid4())) if capture else Scope(ScopeMode.NORMAL, None)


def _opened(replayed: tuple[str, Client] | None, client: Client | None, capture: bool) -> Scope:
    """The scope, whose cassette is still to be read: the log hears of it first (WIRE.md 6.7)."""
    scope = _live_scope(capture) if replayed is None else Scope(ScopeMode.REPLAY, replayed[0])
    _tell(client, "scope_open", scope)
    return scope


@contextmanager
def _entered(scope: Scope, client: Client | None) -> Iterator[None]:
    try:
        with inside(scope):
            yield
        if scope.cassette is not None:
            scope.cassette.check_empty()
    finally:
        _tell(client, "scope_close", scope)


def _tell(client: Client | None, phase: str, scope: Scope) -> None:
    if client is not None:
        client._connection.log_scope(phase, scope.mode.value, scope.session_id)
