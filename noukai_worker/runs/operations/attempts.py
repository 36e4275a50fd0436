"""What enqueuers and workers do to a run: record it, claim it, write to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic_core import from_json, to_json

from ...errors import IdempotencyConflict, InvalidRequest, RunExpired
from .. import keys
from ..answers import Advanced, Claimed, Created, Fenced, Refused
from ..entry import EntryType
from ..model import Checkpoint, Lease, Reply, State
from ..request import RunRequest
from .operation import Operation, existing, ms, pairs, text, write_keys

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,255}")

_SPARED = 3
"""Leases that a silent worker is given on top, if nobody else could find out what became of its call."""


def create(
    run_id: str,
    request: RunRequest,
    *,
    token: str,
    retention: float,
    pickup: float,
    max_attempts: int,
    max_age: float,
    max_entries: int,
    delay: float = 0.0,
    dispatch: str = "{}",
    failed_retention: float | None = None,
) -> Operation[Created]:
    """Record a run. Durations in seconds; `dispatch` is kept for whoever has to send the run's message (again);
    `failed_retention` is the retention of a run that fails, if it is another one.

    Raises InvalidRequest for an id that cannot be one, IdempotencyConflict if the id has another request, RunExpired if its log is
    gone.
    """
    if not _ID.fullmatch(run_id):
        raise InvalidRequest(
            "a task id that names a run has 1 to 255 letters, digits, dots, colons, hyphens or underscores"
        )
    queued: dict[str, Any] = {"flow": request.flow, "mode": request.mode, "delay": delay}
    if request.metadata:
        queued["metadata"] = request.metadata

    def decode(answer: Any) -> Created:
        word = text(answer[0])
        if word == "expired":
            raise RunExpired(run_id)
        if word == "conflict":
            raise IdempotencyConflict(run_id)
        return Created(
            run_id,
            text(answer[1]),
            word == "created" or text(answer[1]) == token,
            State(text(answer[3])),
            int(answer[2]),
        )

    return Operation(
        "create",
        (keys.run(run_id), keys.log(run_id), keys.tombstone(run_id), keys.DEADLINES, keys.INDEX),
        (
            run_id,
            token,
            request.json_bytes(),
            request.digest(),
            request.flow,
            request.mode,
            dispatch,
            ms(retention),
            ms(delay),
            ms(pickup),
            _spared(request),
            request.max_attempts or max_attempts,
            ms(request.max_age or max_age),
            max_entries,
            to_json(queued),
            ms(failed_retention or retention),
        ),
        decode,
        run_id,
        ms(delay or pickup),
    )


def claim(run_id: str, *, claim_id: str, lease: float, worker: str) -> Operation[Claimed | Refused]:
    """Take a queued run for `lease` seconds. The same `claim_id` again gets the same answer.

    Raises RunNotFound or RunExpired.
    """

    def decode(answer: Any) -> Claimed | Refused:
        word = text(answer[0])
        existing(run_id, word)
        if word == "refused":
            return Refused(State(text(answer[1])))
        attempt, seq, request, execution_id, step_index, outputs, counted, dispatch, step_count, last_step = answer[
            1:11
        ]
        unsettled, life, reply = answer[11:]
        checkpoint = Checkpoint(
            text(execution_id) if execution_id else None,
            int(step_index),
            {step: from_json(value) for step, value in pairs(outputs)},
            int(step_count) if step_count else None,
            text(last_step) if last_step else None,
        )
        return Claimed(
            Lease(run_id, int(attempt), int(seq)),
            RunRequest.stored(request),
            checkpoint,
            int(counted),
            text(dispatch),
            bool(unsettled),
            int(life),
            Reply(**from_json(reply)) if reply else None,
        )

    return Operation(
        "claim", write_keys(run_id), (run_id, claim_id, ms(lease), to_json(worker)), decode, run_id, ms(lease)
    )


def advance(
    lease: Lease,
    *,
    position: int,
    extend: float,
    entries: Sequence[tuple[bytes, bytes]] = (),
    to: State | None = None,
    wait: float = 0.0,
    counted: bool = True,
    settled: bool = True,
    reply: Reply | None = None,
    execution_id: str | None = None,
    step_index: int | None = None,
    step_count: int | None = None,
    outputs: Sequence[tuple[str, bytes]] = (),
) -> Operation[Advanced | Fenced]:
    """Write as the holder of `lease`: entries (JSON texts of type and data) after `position`, and the checkpoint; one act.

    Without `to` the lease is extended by `extend` seconds; no entries means just that. With `to` the attempt ends: the run waits
    `wait` seconds (for its pick-up, its retry, its tool results) or has ended. `counted=False` gives the attempt back,
    `settled=False` says that nobody knows whether its paid call was carried out. `reply` is what the flow has waited for: an
    attempt that starts at this step has it. The same write again gets the same answer.
    """
    steps = [part for pair in outputs for part in pair]
    lines = [part for pair in entries for part in pair]

    def decode(answer: Any) -> Advanced | Fenced:
        word = text(answer[0])
        if word == "ok":
            return Advanced(int(answer[1]))
        return Fenced(State(text(answer[1])) if word == "fenced" else None)

    return Operation(
        "advance",
        write_keys(lease.run_id),
        (
            lease.run_id,
            lease.attempt,
            position,
            ms(extend),
            to or "",
            ms(wait),
            int(counted),
            execution_id or "",
            "" if step_index is None else step_index,
            "" if step_count is None else step_count,
            outputs[-1][0] if outputs else "",
            int(settled),
            b"" if reply is None else to_json(asdict(reply)),
            len(steps) // 2,
            len(entries),
            *steps,
            *lines,
        ),
        decode,
        lease.run_id,
        None if to is None else ms(extend if to.terminal else wait),
    )


def entry(kind: EntryType | str, data: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """An entry as `advance` takes it."""
    return to_json(kind), to_json(data, inf_nan_mode="null")


def _spared(request: RunRequest) -> int:
    # It may only be cut off from Redis, and hold a paid result.
    lonely = request.mode != "stream" and not request.alone_in_session and request.on_unknown_outcome == "fail"
    return _SPARED if lonely else 0
