"""What people order: to cancel a run, to go on with a paused one, to try a failed one once more."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from ...errors import RunFinished, RunNotFailed, RunNotPaused
from ..answers import Cancelled, Unsent
from ..model import State
from ..request import RunRequest
from .operation import Operation, existing, ms, text, write_keys

_SOON = 10_000


def cancel(run_id: str, *, reason: str | None = None) -> Operation[Cancelled]:
    """End a run. One that is cancelled already stays as it is. Raises RunNotFound, RunExpired, RunFinished."""

    def decode(answer: Any) -> Cancelled:
        word = text(answer[0])
        existing(run_id, word)
        before = State(text(answer[1]))
        if word == "finished" and before is not State.CANCELLED:
            raise RunFinished(run_id, before)
        return Cancelled(run_id, before, text(answer[2]), text(answer[3]))

    return Operation(
        "cancel", write_keys(run_id), (run_id, to_json({"reason": reason} if reason else {})), decode, run_id, _SOON
    )


def resume(run_id: str, *, position: int, results: Sequence[Mapping[str, Any]], pickup: float) -> Operation[Unsent]:
    """Queue a paused run again with what it waits for; `position` is that of its `run.paused` entry. Once: a second answer raises,
    but this operation itself may be repeated.

    Its message is the caller's to send, within `pickup` seconds. Raises RunNotFound, RunExpired, RunNotPaused.
    """

    def decode(answer: Any) -> Unsent:
        word = text(answer[0])
        existing(run_id, word)
        if word == "refused":
            raise RunNotPaused(run_id, text(answer[1]))
        return Unsent(run_id, RunRequest.stored(answer[1]), text(answer[2]))

    data = to_json({"tool_call_ids": [result.get("toolCallId") for result in results]})
    return Operation(
        "resume",
        write_keys(run_id),
        (run_id, position, to_json(results), ms(pickup), data, _order()),
        decode,
        run_id,
        ms(pickup),
    )


def redrive(run_id: str, *, pickup: float) -> Operation[Unsent]:
    """Queue a failed run again, under its id, with all its attempts and its age anew; it goes on at its checkpoint.

    Its terminal entry is replaced by `run.retrying` under the same number, so that the log has one end again (law 2). The message
    is the caller's to send, within `pickup` seconds. This operation may be repeated. Raises RunNotFound, RunExpired, RunNotFailed.
    """

    def decode(answer: Any) -> Unsent:
        word = text(answer[0])
        existing(run_id, word)
        if word == "refused":
            raise RunNotFailed(run_id, text(answer[1]))
        return Unsent(run_id, RunRequest.stored(answer[1]), text(answer[2]))

    return Operation("redrive", write_keys(run_id), (run_id, ms(pickup), _order()), decode, run_id, ms(pickup))


def _order() -> str:
    # The client of Redis repeats what was not answered; that is not somebody else's order.
    return uuid.uuid4().hex
