"""This room plays a recorded session: it reads it from the service, and answers calls in the service's place.

A step run is turned back into the stream it was, and read by the same machine as a live one.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from typing import Any

from noukai_sdk._errors import (
    FlowExecutionError,
    NoukaiError,
    ReplayError,
    ReplayForbiddenError,
    ReplayInvalidSessionError,
    ReplayMissError,
    ReplaySessionExpiredError,
    ReplaySessionNotFoundError,
)
from noukai_sdk._json import compact
from noukai_sdk._models.causes import code_and_message
from noukai_sdk._models.sessions import RecordedRun, RecordedStep, objects
from noukai_sdk._protocol.cassette import Cassette, Trigger
from noukai_sdk._protocol.effects import Deliver, Effect, Sleep
from noukai_sdk._protocol.replies import json_object
from noukai_sdk._protocol.session import CallSession
from noukai_sdk._protocol.sessions import ask_for_session, is_session_id
from noukai_sdk._protocol.stream import State, StepMachine

_ERRORS: dict[int | None, type[ReplayError]] = {
    400: ReplayInvalidSessionError,
    403: ReplayForbiddenError,
    404: ReplaySessionNotFoundError,
    410: ReplaySessionExpiredError,
}


def read_session(session_id: str, max_retries: int) -> Generator[Effect, Any, Cassette]:
    """The recorded session. Raises ReplayError, or what the request raises."""
    if not is_session_id(session_id):
        raise ReplayInvalidSessionError(
            f"session id {session_id!r} is not a UUID, so there is nothing to replay; take it from a captured session",
            status_code=400,
            sent=False,
        )
    try:
        reply = yield from ask_for_session(session_id, None, max_retries)
    except NoukaiError as error:
        kind = _ERRORS.get(error.status_code)
        if kind is None:
            raise
        raise kind(
            f"session {session_id} cannot be replayed: {error.message}",
            status_code=error.status_code,
            code=error.code,
            request_id=error.request_id,
            response_body=error.response_body,
        ) from error
    return Cassette(session_id, [RecordedRun(run) for run in objects(json_object(reply), "executions")])


def play_execution(
    cassette: Cassette, call: CallSession, max_retries: int
) -> Generator[Effect, Any, tuple[str, dict[str, Any]]]:
    """The session and the body that `execute` would have got. Raises ReplayMissError, FlowExecutionError for a failed run."""
    session_id, run = yield from _recorded(cassette, call, "execute", None, max_retries)
    if run.failed:
        code, message = code_and_message(run.failed_step.error)
        raise FlowExecutionError(
            message or f"the recorded run failed at step {run.failed_step.step_id!r}",
            code=code,
            execution_id=run.execution_id,
        )
    if not run.finished:
        raise _unfinished(run)
    return session_id, run.completed_body()


def play_steps(
    cassette: Cassette, call: CallSession, machine: StepMachine, max_retries: int
) -> Generator[Effect, Any, None]:
    """Delivers the frames that `events` would have got, from the machine's checkpoint on. Raises ReplayMissError."""
    _, run = yield from _recorded(cassette, call, "step", machine.execution_id, max_retries)
    machine.next_body()
    for text in _stream(run, machine.step_index, is_first_call=machine.execution_id is None):
        yield Deliver(machine.receive(text), is_last=False)
        if machine.failure is not None:
            raise machine.failure
    if machine.state is State.READING:
        raise _unfinished(run)


def _recorded(
    cassette: Cassette, call: CallSession, trigger: Trigger, execution_id: str | None, max_retries: int
) -> Generator[Effect, Any, tuple[str, RecordedRun]]:
    """The session and the run that answer this call."""
    named = call.given
    if named == "":
        raise ReplayMissError('a call with session_id="" belongs to no session, so no recording has it', sent=False)
    with cassette.one_at_a_time(trigger, call.flow):
        if named is not None and named != cassette.session_id:
            cassette.skip(trigger, call.flow)
            if named not in cassette.others:
                other = yield from read_session(named, max_retries)
                cassette.others.setdefault(named, other)
            cassette = cassette.others[named]
        run = cassette.take(trigger, call.flow, execution_id)
        # A real call lets others run meanwhile. So must this one, or calls at the same time would go unnoticed.
        yield Sleep(0)
    if any(step.truncated for step in run.steps):
        warnings.warn(f"run {run.execution_id} was recorded with truncated values", UserWarning, stacklevel=2)
    return cassette.session_id, run


def _stream(run: RecordedRun, start: int, *, is_first_call: bool) -> Iterator[bytes]:
    """What the service would have sent, in one answer, in pieces of a step each."""
    steps, failed = run.steps, run.failed_step if run.failed else None
    if is_first_call:
        yield _frame(
            "run_started",
            runId=run.execution_id,
            executionId=run.execution_id,
            flowId=run.flow_id or None,
            stepCount=len(steps),
        )
    for index, step in list(enumerate(steps))[start:]:
        if failed is not None and step.raw is failed.raw:
            break
        yield _frame("step_started", stepId=step.step_id, stepIndex=index) + _completed(step, index)
    if failed is not None:
        started = b"" if failed.step_id is None else _frame("step_started", stepId=failed.step_id)
        yield started + _frame("step_error", stepId=failed.step_id, error=failed.error)
    elif run.finished:
        yield _frame("flow_completed", executionId=run.execution_id, result=steps[-1].output if steps else None)


def _completed(step: RecordedStep, index: int) -> bytes:
    fields = {"stepId": step.step_id, "output": step.output, "stepIndex": index}
    if step.duration_ms is not None:
        fields["durationMs"] = step.duration_ms
    return _frame("step_completed", **fields)


def _frame(name: str, /, **payload: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + compact(payload) + b"\n\n"


def _unfinished(run: RecordedRun) -> ReplayMissError:
    return ReplayMissError(
        f"run {run.execution_id} had not ended when its session was read (status {run.status!r}), so there is no more to "
        "play; record the session again",
        execution_id=run.execution_id,
    )
