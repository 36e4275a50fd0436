"""What became of a paid call that was cut off: the service is asked for the run's session, and one pure function reads the answer.

Each run has a session to itself (WIRE 5.5), its id made from the run's: what is recorded there is this run's (DESIGN 2, law 6).
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import noukai_sdk

from ..runs import Failure, outcome
from ..runs.answers import Claimed
from .base import FlowTask

_NAMESPACE = uuid.UUID("0b6f2d2e-5a0e-5c39-8d0b-6a8f0f2f5d41")

_RECORDED_WITHIN = 5.0
"""Seconds after which a call that the service does not know of has not arrived."""
_ASK_EVERY = 1.0
_ASK_SOON = 0.1
"""Seconds between two questions, and before the second."""
_PAUSED = frozenset({"paused", "tool_calls_required"})


@dataclass(frozen=True, slots=True)
class Finished:
    """It was carried out, and this is its result."""

    result: Any
    execution_id: str


@dataclass(frozen=True, slots=True)
class Broken:
    """It was carried out, or tried, and there is no result to be had from it. Not `settled`: it was paid for all the same."""

    failure: Failure
    settled: bool = True


@dataclass(frozen=True, slots=True)
class UnderWay:
    """It is being carried out."""

    execution_id: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """It waits for tool results."""


@dataclass(frozen=True, slots=True)
class Absent:
    """The service knows of no such call."""


@dataclass(frozen=True, slots=True)
class Untold:
    """The service cannot tell."""

    reason: str


Finding = Finished | Broken | UnderWay | Waiting | Absent | Untold


def session_of(claimed: Claimed) -> str:
    """The session of a run's paid calls: the enqueuer's, or the run's own."""
    theirs = claimed.request.session_id
    if theirs is not None:
        return theirs
    run_id, life = claimed.lease.run_id, claimed.life
    return str(uuid.uuid5(_NAMESPACE, f"{run_id}/{life}" if life else run_id))


_CANNOT_TELL = frozenset({400, 401, 403, 404, 405, 410, 501})
"""The service does not keep sessions, or not this one; a 404 that is its own word for "none" is another error."""

Answer: TypeAlias = "Sequence[noukai_sdk.RecordedRun] | noukai_sdk.NoukaiError"
"""The executions in the session, or why they were not told."""


def inquire(claimed: Claimed, now: float, *, patience: float) -> Generator[float, tuple[Answer, float], Finding]:
    """Find out what became of a run's paid call: yields the seconds to wait before the service is asked, is sent its answer and
    the time (seconds, of any clock).

    An execution that is under way is waited for, at most `patience` seconds. Raises what the service says that will pass.
    """
    if not claimed.request.alone_in_session:
        return Untold("the run shares its session with others")
    began, pause = now, 0.0
    while True:
        answer, now = yield pause
        pause = _ASK_EVERY if pause else _ASK_SOON
        finding = _read(answer)
        match finding:
            case Absent() if now - began < _RECORDED_WITHIN:  # it may still be on its way
                continue
            case UnderWay() if now - began < patience:
                continue
        return finding


def conclude(finding: Finding, task: FlowTask, claimed: Claimed) -> outcome.Outcome | None:
    """What a finding means for the run: how the attempt ends, or None: the call is to be made (again)."""
    match finding:
        case Finished(result, execution_id):
            return outcome.Completed(result, execution_id)
        case Broken(failure, settled):
            return outcome.Failed(failure, settled)
        case UnderWay(execution_id):
            late = Failure("still_under_way", f"execution {execution_id} has not ended yet")
            return task.again(late, claimed, None, settled=False)
        case Waiting() if claimed.reply:  # then that is what it waits for
            pass
        case Untold() | Waiting():
            reason = (
                finding.reason if isinstance(finding, Untold) else "what the flow waits for was lost with its worker"
            )
            end = task.unknown(Failure("outcome_unknown", reason), claimed)
            if end is not None:
                return end
    if task.may_call(claimed):
        return None
    exhausted = Failure("attempts_exhausted", "the paid call was not carried out, and no attempt is left")
    return outcome.Failed(exhausted, settled=not isinstance(finding, Waiting))


def _read(answer: Answer) -> Finding:
    if not isinstance(answer, noukai_sdk.NoukaiError):
        return read(answer)
    if isinstance(answer, noukai_sdk.SessionNotFoundError):
        return Absent()
    if answer.status_code in _CANNOT_TELL or isinstance(answer, noukai_sdk.APIResponseError):
        return Untold(f"the service does not tell what became of the call ({answer.message})")
    raise answer


def read(executions: Sequence[noukai_sdk.RecordedRun]) -> Finding:
    """What the executions of a session say: one with a result counts before one that goes on, and that before the others."""
    if not executions:
        return Absent()
    last = max(executions[::-1], key=_weight)
    if not last.finished:
        return Waiting() if last.status in _PAUSED else UnderWay(last.execution_id)
    try:
        result = last.result()
    except noukai_sdk.ResultNotRecordedError as error:
        text = f"{error.message}; it was carried out, and is not paid for again"
        return Broken(Failure("result_unavailable", text), settled=False)
    if result.status == "completed":
        return Finished(result.result, last.execution_id)
    fields = last.error if isinstance(last.error, dict) else {}
    said = str(result.result or f"execution {last.execution_id} is {result.status}")
    return Broken(Failure(str(fields.get("code") or "FLOW_FAILED"), said))


def _weight(execution: noukai_sdk.RecordedRun) -> int:
    if execution.status == "completed":
        return 2
    return 0 if execution.finished or execution.status in _PAUSED else 1
