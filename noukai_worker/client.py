"""What an application does with runs: enqueue them, look at them, answer what they wait for, cancel them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import (
    EnqueuedInPart,
    InvalidRequest,
    NoukaiWorkerError,
    PayloadTooLarge,
    RunCancelled,
    RunFailed,
    RunNotPaused,
)
from .runs import Mode, RunRequest, RunView, State, ToolResults, operations, shared
from .runs.answers import Created, GateView
from .runs.operations import Gate
from .runs.operations.gates import ROOMS
from .runs.tool_results import fitted
from .runs.tool_results import read as read_results
from .settings import current
from .subscriber import Subscription, subscribe
from .tasks import app as apps
from .tasks import base, dispatch, many


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was accepted. `position` is where to read from, `token` the right to read."""

    id: str
    token: str = field(repr=False)
    new: bool
    """False if the idempotency key had made this run before."""
    position: int = 0

    def show(self) -> RunView:
        """The run as it stands. Raises RunExpired, StoreUnavailable."""
        return show(self.id)

    def subscribe(self, after: int = 0) -> Subscription:
        """Its entries, from `after` on, to its end; for `for` and `async for`."""
        return subscribe(self.id, after=after)

    def cancel(self, *, reason: str | None = None) -> State:
        """End it. Raises RunFinished."""
        return cancel(self.id, reason=reason)

    def resume(self, tool_results: ToolResults) -> Run:
        """Answer the tool calls that it waits for; see `resume`."""
        return resume(self.id, tool_results)

    def result(self) -> Any:
        """Wait for the end; the flow's output. A redriven run's end is the new one.

        Raises RunFailed, RunCancelled, and what `subscribe` raises.
        """
        while not (view := self.show()).state.terminal:
            with self.subscribe(view.position) as entries:
                for _ in entries:
                    pass
        return _result(self.id, view)


def enqueue(
    flow: str,
    *,
    message: str | None = None,
    messages: list[dict[str, Any]] | None = None,
    parameters: dict[str, Any] | None = None,
    mode: Mode = "stream",
    version: str | int = "production",
    idempotency_key: str | None = None,
    delay: float | None = None,
    priority: int | None = None,
    credential: str = "default",
    tenant: str | None = None,
    metadata: dict[str, Any] | None = None,
    **others: Any,
) -> Run:
    """Record a run and send it to the workers.

    flow: `org/project/slug`. mode: `stream` relays every event of the flow, `execute` is one blocking call. idempotency_key: two
    calls with one key give one run for as long as it is kept. delay: seconds until it is due. priority: Celery's, 0 to 9.
    credential: the name of an API key in the workers' settings. tenant: whose run it is;
    the tenants of a credential take turns. metadata: your own notes, shown with the run.
    others: `block_overrides`, `input_overrides`, `attachments`, `tools`, `tool_choice`, `session_id`, `timeout`, `max_attempts`,
    `max_age`, `on_unknown_outcome`; see `RunRequest`.

    What is returned was recorded: it will run, even if this process dies now. Raises InvalidRequest, PayloadTooLarge,
    IdempotencyConflict, RunExpired (nothing was written) and StoreUnavailable (it is not known whether it was: call again with
    the same idempotency key).

    Celery's signals are sent; Celery's own `Task.apply_async` is called only within a task, if
    messages are to have events, or if somebody has wrapped it.
    """
    submission = _submission(
        flow=flow,
        message=message,
        messages=messages,
        parameters=parameters,
        mode=mode,
        version=version,
        idempotency_key=idempotency_key,
        delay=delay,
        priority=priority,
        credential=credential,
        tenant=tenant,
        metadata=metadata,
        **others,
    )
    created = dispatch.submit(apps.current(), submission)
    return Run(created.run_id, created.token, created.new)


async def aenqueue(flow: str, **arguments: Any) -> Run:
    """`enqueue`, for event loops: the same arguments, result and errors. Celery publishes with blocking sockets, in a thread."""
    return await asyncio.to_thread(enqueue, flow, **arguments)


def enqueue_many(requests: Iterable[Mapping[str, Any]], **shared_arguments: Any) -> list[Run]:
    """Record many runs and send them to the workers, in a few trips; the runs, in the order of the requests.

    requests: mappings with the names of `enqueue`'s arguments; `shared_arguments` stand for what a request leaves out. For each
    run everything holds that `enqueue` promises. All requests are checked before anything is written: InvalidRequest and
    PayloadTooLarge name the index, as in `requests[3]`. If some are recorded and others cannot be, EnqueuedInPart says which; if
    none is, the first error is raised: IdempotencyConflict, RunExpired, StoreUnavailable.

    Celery's signals are sent; `Task.apply_async` is called only if each message is to have an event, or if
    somebody has wrapped it.
    """
    if "idempotency_key" in shared_arguments:
        raise InvalidRequest("an idempotency key is one run's: give it in the request, not for all")
    submissions = [_checked(n, request, shared_arguments) for n, request in enumerate(requests)]
    told = many.submit_all(apps.current(), submissions)
    errors = [its if isinstance(its, NoukaiWorkerError) else None for its in told]
    runs = [Run(its.run_id, its.token, its.new) for its in told if isinstance(its, Created)]
    first = next((error for error in errors if error), None)
    if first and runs:
        ids = [its.run_id if isinstance(its, Created) else None for its in told]
        raise EnqueuedInPart(ids, [str(error) if error else None for error in errors]) from first
    if first:
        raise first
    return runs


async def aenqueue_many(requests: Iterable[Mapping[str, Any]], **shared_arguments: Any) -> list[Run]:
    """`enqueue_many`, for event loops."""
    return await asyncio.to_thread(enqueue_many, list(requests), **shared_arguments)


def cancel(run_id: str, *, reason: str | None = None) -> State:
    """End a run that has not ended, in whatever state; the state it was in. Cancelling twice does nothing.

    Raises RunNotFound, RunExpired, RunFinished, StoreUnavailable.
    """
    cancelled = shared(current().redis_url).perform(operations.cancel(run_id, reason=reason))
    dispatch.end_cancelled(apps.current(), cancelled)
    if cancelled.before is State.RUNNING:
        dispatch.stop_worker(apps.current(), run_id)
    return cancelled.before


async def acancel(run_id: str, *, reason: str | None = None) -> State:
    """`cancel`, for event loops."""
    return await asyncio.to_thread(cancel, run_id, reason=reason)


def resume(run_id: str, tool_results: ToolResults) -> Run:
    """Go on with a paused run: answer, all at once, the tool calls in its `waiting_for`. Once for each pause.

    tool_results: a list of `{"tool_call_id": …, "content": …}`, or an object of contents by id (WIRE.md 3.2). Content that is no
    text is sent as JSON. Returns the run, with the position from which to read on. Raises InvalidRequest for results that do not
    fit, PayloadTooLarge, RunNotPaused for a second answer (in either case nothing was written), RunNotFound, RunExpired and
    StoreUnavailable.
    """
    settings = current()
    results = read_results(tool_results, settings.max_input_bytes)
    store = shared(settings.redis_url)
    view = store.perform(operations.show(run_id))
    if view.waiting_for is None:
        raise RunNotPaused(run_id, view.state)
    order = operations.resume(
        run_id, position=view.position, results=fitted(results, view.waiting_for), pickup=settings.pickup
    )
    dispatch.go_on(apps.current(), store.perform(order))
    return Run(run_id, view.token, new=False, position=view.position)


async def aresume(run_id: str, tool_results: ToolResults) -> Run:
    """`resume`, for event loops."""
    return await asyncio.to_thread(resume, run_id, tool_results)


def show(run_id: str) -> RunView:
    """A run as it stands. Raises RunNotFound, RunExpired, StoreUnavailable."""
    return shared(current().redis_url).perform(operations.show(run_id))


def recent(limit: int = 50, state: State | None = None) -> list[RunView]:
    """The newest runs, newest first, at most `limit`; only those in `state`, if given. Raises StoreUnavailable."""
    store = shared(current().redis_url)
    found: list[RunView] = []
    offset = 0
    while len(found) < limit:
        ids = store.perform(operations.recent(offset=offset, limit=limit))
        if not ids:
            break
        offset += len(ids)
        views = (store.perform(operations.peek(run_id)) for run_id in ids)
        found += [view for view in views if view is not None and state in (None, view.state)]
    return found[:limit]


def limits(*credentials: str) -> list[GateView]:
    """What waits, what runs and what is paused, for each credential: those named, or all that this process' settings know.

    Raises StoreUnavailable.
    """
    settings = current()
    names = credentials or sorted({"default", *settings.credentials, *settings.limits})
    store = shared(settings.redis_url)
    found: list[GateView] = []
    for name in names:
        rooms = [store.perform(operations.look(Gate(name, room, settings.retention))) for room in ROOMS]
        waiting = {kind: lines for view in rooms for kind, lines in view.waiting.items()}
        sent = {kind: number for view in rooms for kind, number in view.sent.items()}
        found.append(replace(rooms[0], waiting=waiting, sent=sent))
    return found


def lift_pause(credential: str = "default") -> None:
    """End the pause that the service asked for; what waits begins. Raises StoreUnavailable."""
    settings = current()
    gate = Gate(credential, "stream", settings.retention)
    shared(settings.redis_url).perform(operations.pause(gate, 0))


def _result(run_id: str, view: RunView) -> Any:
    if view.failure:
        raise RunFailed(run_id, view.failure.code, view.failure.message, view.attempt)
    if view.state is State.CANCELLED:
        raise RunCancelled(run_id)
    return view.result


def _submission(
    *, idempotency_key: object = None, delay: object = None, priority: object = None, **fields: Any
) -> dispatch.Submission:
    request = RunRequest.build(current().max_input_bytes, **fields)
    options = {} if priority is None else {"priority": _priority(priority)}
    return dispatch.Submission(dispatch.run_id_of(idempotency_key), request, base.checked_delay(delay), options)


def _checked(n: int, request: object, shared_arguments: Mapping[str, Any]) -> dispatch.Submission:
    place = f"requests[{n}]"
    if not isinstance(request, Mapping):
        raise InvalidRequest(f'{place}: write it as a mapping: {{"flow": "org/project/slug", "message": …}}')
    try:
        return _submission(**{**shared_arguments, **request})
    except PayloadTooLarge as error:
        raise PayloadTooLarge(error.size, error.limit, place) from None
    except (InvalidRequest, TypeError) as error:
        raise InvalidRequest(f"{place}: {error}") from None


def _priority(priority: object) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= 9:
        raise InvalidRequest("priority is a whole number from 0 to 9")
    return priority
