"""How an attempt may end, and the one write that says so: last entries, state and deadline together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json

from . import answers, operations
from .entry import EntryType
from .model import Failure, Lease, Reply, State


class Completed(NamedTuple):
    """The flow's output."""

    result: Any
    execution_id: str | None = None


class Failed(NamedTuple):
    """The run has failed for good. Not `settled`: its paid call may have been carried out all the same."""

    failure: Failure
    settled: bool = True


class Retrying(NamedTuple):
    """Another attempt is due after `delay` seconds."""

    failure: Failure
    delay: float
    settled: bool = True


class Paused(NamedTuple):
    """The flow waits for tool results: nobody holds the run for at most `wait` seconds."""

    continuation: dict[str, Any]
    wait: float


def waiting_for(
    *, step_id: Any, execution_id: Any, tool_calls: Any, tool_call_messages: Any, iterations_used: Any
) -> dict[str, Any]:
    """What a paused run waits for, the same in both modes: all that is needed to answer it."""
    return {
        "step_id": step_id,
        "execution_id": execution_id,
        "tool_calls": tool_calls,
        "tool_call_messages": tool_call_messages,
        "iterations_used": iterations_used,
    }


class GivenBack(NamedTuple):
    """The worker stops: another one is to go on at once; the attempt does not count."""

    settled: bool = True


Outcome = Completed | Failed | Retrying | Paused | GivenBack
Write = operations.Operation[answers.Advanced | answers.Fenced]


class Progress(NamedTuple):
    """What a batch of events adds to a run: entries (JSON texts of type and data) and the checkpoint after them."""

    entries: Sequence[tuple[bytes, bytes]] = ()
    outputs: Sequence[tuple[str, bytes]] = ()
    execution_id: str | None = None
    step_index: int | None = None
    step_count: int | None = None
    reply: Reply | None = None


NOTHING = Progress()


def answered(reply: Reply) -> Progress:
    """The write of a worker that has answered the flow's tool calls by itself; another one need not answer them again."""
    ids = [result.get("toolCallId") for result in reply.results or ()]
    return Progress([operations.entry(EntryType.RESUMED, {"tool_call_ids": ids})], reply=reply)


def too_many_rounds(limit: int) -> Failure:
    """Why a run failed whose flow asks for tools without end."""
    return Failure("tool_rounds_exhausted", f"the flow asked for tools more than {limit} times in one attempt")


def readable(end: Outcome) -> Outcome:
    """The same, or Failed for what JSON cannot hold (lone surrogates, nesting without end); it was paid for all the same."""
    if isinstance(end, Completed | Paused):
        try:
            to_json(end.result if isinstance(end, Completed) else end.continuation, inf_nan_mode="null")
        except (ValueError, RecursionError) as error:
            return Failed(Failure("unreadable_result", f"the result is not JSON: {error}"), settled=False)
    return end


def keep(lease: Lease, position: int, progress: Progress, *, extend: float) -> Write:
    """The write in the middle of an attempt: progress, and the lease extended by `extend` seconds."""
    return operations.advance(
        lease,
        position=position,
        extend=extend,
        entries=progress.entries,
        outputs=progress.outputs,
        execution_id=progress.execution_id,
        step_index=progress.step_index,
        step_count=progress.step_count,
        reply=progress.reply,
    )


def close(lease: Lease, position: int, outcome: Outcome, *, progress: Progress = NOTHING, pickup: float) -> Write:
    """The write that ends an attempt; `progress` is what was not written yet. `pickup` in seconds, for a run given back."""
    to, wait, last = _end(lease, outcome, pickup)
    return operations.advance(
        lease,
        position=position,
        extend=0,
        to=to,
        wait=wait,
        counted=not isinstance(outcome, GivenBack),
        settled=not isinstance(outcome, Failed | Retrying | GivenBack) or outcome.settled,
        entries=[*progress.entries, last],
        outputs=progress.outputs,
        execution_id=(outcome.execution_id if isinstance(outcome, Completed) else None) or progress.execution_id,
        step_index=progress.step_index,
        step_count=progress.step_count,
    )


def _end(lease: Lease, outcome: Outcome, pickup: float) -> tuple[State, float, tuple[bytes, bytes]]:
    attempt = lease.attempt
    match outcome:
        case Completed(result, execution_id):
            data = {"result": result, "execution_id": execution_id, "attempts": attempt}
            return State.COMPLETED, 0, operations.entry(EntryType.COMPLETED, data)
        case Failed(failure, _):
            data = {"code": failure.code, "message": failure.message, "attempts": attempt}
            return State.FAILED, 0, operations.entry(EntryType.FAILED, data)
        case Retrying(failure, delay, _):
            data = {"code": failure.code, "message": failure.message, "attempt": attempt, "delay": round(delay, 3)}
            return State.RETRYING, delay, operations.entry(EntryType.RETRYING, data)
        case Paused(continuation, wait):
            return State.PAUSED, wait, operations.entry(EntryType.PAUSED, continuation)
        case GivenBack(_):
            text = "the worker is stopping; another one goes on"
            data = {"code": "worker_draining", "message": text, "attempt": attempt, "delay": 0}
            return State.QUEUED, pickup, operations.entry(EntryType.RETRYING, data)
