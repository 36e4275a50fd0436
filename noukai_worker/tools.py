"""Answers the tool calls of flows: functions that a worker's application has registered under the tools' names.

    from noukai_worker import tools

    @tools.register("get_weather")
    def get_weather(city: str) -> str: ...

A function is called with the arguments of the tool call, by name, in the worker that runs the flow; `async def` works too. What it
returns is the result: text as it is, anything else as JSON. Workers import the modules in NOUKAI_WORKER_INCLUDE for that.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, from_json, to_json

from .errors import InvalidRequest, ToolFailed

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Call:
    """The tool call that is being answered."""

    run_id: str
    id: str
    name: str
    metadata: Mapping[str, Any]
    """The enqueuer's notes on the run."""


_functions: dict[str, Callable[..., Any]] = {}
_current: contextvars.ContextVar[Call] = contextvars.ContextVar("noukai_tool_call")


def register(name: str) -> Callable[[Function], Function]:
    """A decorator: let the function answer the calls of the tool `name`. Raises InvalidRequest if the name is taken."""

    def registered(function: Function) -> Function:
        taken = _functions.get(name)
        if taken is not None and (taken.__module__, taken.__qualname__) != (function.__module__, function.__qualname__):
            raise InvalidRequest(f"two functions are registered for the tool {name!r}: choose one")
        _functions[name] = function
        return function

    return registered


def load(modules: Sequence[str]) -> None:
    """Import the modules that register tools. Raises InvalidRequest for one that cannot be imported."""
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise InvalidRequest(f"NOUKAI_WORKER_INCLUDE: {module} cannot be imported ({error})") from None


def call() -> Call:
    """The tool call that the running function answers. Raises LookupError outside one."""
    return _current.get()


def known(calls: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is a function for each of these tool calls (WIRE 3.2)."""
    return bool(calls) and all(_name(call) in _functions for call in calls)


async def answer(
    calls: Sequence[Mapping[str, Any]], *, run_id: str, metadata: Mapping[str, Any], limit: float
) -> list[dict[str, Any]]:
    """The results of tool calls, in their order, as the service takes them (WIRE 3.2); the calls run at the same time.

    A function that raises, or takes more than `limit` seconds, gives a result that says so: the flow decides what that means.
    """
    about = [Call(run_id, str(call.get("id")), _name(call), metadata) for call in calls]
    contents = await asyncio.gather(*(_content(one, call, limit) for one, call in zip(about, calls, strict=True)))
    return [
        {"role": "tool", "toolCallId": one.id, "content": content} for one, content in zip(about, contents, strict=True)
    ]


async def _content(about: Call, call: Mapping[str, Any], limit: float) -> str:
    try:
        async with asyncio.timeout(limit) as within:
            return _text(await _result(about, _arguments(call)))
    except ToolFailed as error:
        return _error(str(error))
    except GeneratorExit:  # the loop is gone
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _interrupted():
            raise
        failure = error
    if within.expired():
        logger.warning("run %s: the tool %s took more than %g s", about.run_id, about.name, limit)
        return _error(f"the tool took more than {limit:g} s")
    # What it says may hold secrets of this process; its kind does not.
    logger.error("run %s: the tool %s failed", about.run_id, about.name, exc_info=failure)
    return _error(f"the tool failed: {type(failure).__name__}")


def _interrupted() -> bool:
    """Whether it is the attempt that is cancelled, and not something that a function awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _result(about: Call, arguments: Mapping[str, Any]) -> Any:
    function = _functions[about.name]
    _current.set(about)
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    return await _in_thread(function, arguments)


async def _in_thread(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    # A thread of its own, as a daemon: nobody waits for a function that is over its limit, not even at exit.
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((result, error))

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(function, **arguments)
        except BaseException as failure:  # noqa: BLE001 - raised where the result is awaited
            error = failure
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name="noukai-tool", daemon=True).start()
    result, error = await future
    if error is not None:
        raise error
    return result


def _name(call: Mapping[str, Any]) -> str:
    function = call.get("function")
    return str(function.get("name")) if isinstance(function, Mapping) else ""


def _arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    given = call["function"].get("arguments")
    try:
        arguments = from_json(given or "{}") if isinstance(given, str) else given or {}
    except ValueError:
        raise ToolFailed("the arguments are not JSON") from None
    if not isinstance(arguments, dict):
        raise ToolFailed("the arguments are not an object")
    return arguments


def _text(result: Any) -> str:
    try:
        written = to_json(result, inf_nan_mode="null").decode()
    except (PydanticSerializationError, ValueError) as error:
        raise ToolFailed(f"the result is not JSON: {error}") from None
    return result if isinstance(result, str) else written


def _error(text: str) -> str:
    return to_json({"error": text}).decode()
