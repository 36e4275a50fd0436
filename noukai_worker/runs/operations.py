"""Everything that can be done to a run, as data: which script, which keys, which arguments, how the answer is read.

No I/O happens here. `store.py` performs an operation on one connection, the streaming writer performs many in one trip; both get
the same answers and raise the same errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic_core import from_json, to_json

from ..errors import (
    EntriesTrimmed,
    EntryUnreadable,
    IdempotencyConflict,
    InvalidRequest,
    PositionAhead,
    RunExpired,
    RunFinished,
    RunNotFound,
)
from . import keys
from .answers import Advanced, Cancelled, Claimed, Created, Due, Ended, Fenced, Page, Refused, Unsent
from .model import Checkpoint, Entry, EntryType, Failure, Lease, RunView, State
from .request import RunRequest

T = TypeVar("T")
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,255}")
Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call of one script. `decode` turns Redis' answer into `T`, or raises one of our errors."""

    script: str
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    decode: Callable[[Any], T]


def parse_entry(raw: bytes | str) -> Entry:
    """An entry from its JSON text (DESIGN 5). Raises EntryUnreadable."""
    raw = raw.encode() if isinstance(raw, str) else raw
    try:
        fields = from_json(raw)
        return Entry(
            fields["run_id"], fields["seq"], fields["type"], fields["at"], fields["attempt"], fields["data"], raw=raw
        )
    except (ValueError, KeyError, TypeError):
        raise EntryUnreadable(raw[:80].decode(errors="replace")) from None


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
) -> Operation[Created]:
    """Record a run. Durations in seconds; `dispatch` is kept for whoever has to send the run's message (again).

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
        word = _text(answer[0])
        if word == "expired":
            raise RunExpired(run_id)
        if word == "conflict":
            raise IdempotencyConflict(run_id)
        return Created(
            run_id,
            _text(answer[1]),
            word == "created" or _text(answer[1]) == token,
            State(_text(answer[3])),
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
            _ms(retention),
            _ms(delay),
            _ms(pickup),
            request.on_unknown_outcome,
            request.max_attempts or max_attempts,
            _ms(request.max_age or max_age),
            max_entries,
            to_json(queued),
        ),
        decode,
    )


def claim(run_id: str, *, claim_id: str, lease: float, worker: str) -> Operation[Claimed | Refused]:
    """Take a queued run for `lease` seconds. The same `claim_id` again gets the same answer.

    Raises RunNotFound or RunExpired.
    """

    def decode(answer: Any) -> Claimed | Refused:
        word = _text(answer[0])
        _existing(run_id, word)
        if word == "refused":
            return Refused(State(_text(answer[1])))
        _, attempt, seq, request, execution_id, step_index, outputs, counted, dispatch, step_count, last_step = answer
        checkpoint = Checkpoint(
            _text(execution_id) if execution_id else None,
            int(step_index),
            {step: from_json(value) for step, value in _pairs(outputs)},
            int(step_count) if step_count else None,
            _text(last_step) if last_step else None,
        )
        return Claimed(
            Lease(run_id, int(attempt), int(seq)),
            RunRequest.stored(request),
            checkpoint,
            int(counted),
            _text(dispatch),
        )

    return Operation("claim", _write_keys(run_id), (run_id, claim_id, _ms(lease), to_json(worker)), decode)


def advance(
    lease: Lease,
    *,
    position: int,
    extend: float,
    entries: Sequence[tuple[bytes, bytes]] = (),
    to: State | None = None,
    wait: float = 0.0,
    counted: bool = True,
    execution_id: str | None = None,
    step_index: int | None = None,
    step_count: int | None = None,
    outputs: Sequence[tuple[str, bytes]] = (),
) -> Operation[Advanced | Fenced]:
    """Write as the holder of `lease`: entries (JSON texts of type and data) after `position`, and the checkpoint; one act.

    Without `to` the lease is extended by `extend` seconds; no entries means just that. With `to` the attempt ends: the run waits
    `wait` seconds (for its pick-up, its retry, its tool results) or has ended. `counted=False` gives the attempt back.
    The same write again gets the same answer.
    """
    steps = [part for pair in outputs for part in pair]
    lines = [part for pair in entries for part in pair]

    def decode(answer: Any) -> Advanced | Fenced:
        word = _text(answer[0])
        if word == "ok":
            return Advanced(int(answer[1]))
        return Fenced(State(_text(answer[1])) if word == "fenced" else None)

    return Operation(
        "advance",
        _write_keys(lease.run_id),
        (
            lease.run_id,
            lease.attempt,
            position,
            _ms(extend),
            to or "",
            _ms(wait),
            int(counted),
            execution_id or "",
            "" if step_index is None else step_index,
            "" if step_count is None else step_count,
            outputs[-1][0] if outputs else "",
            len(steps) // 2,
            len(entries),
            *steps,
            *lines,
        ),
        decode,
    )


def cancel(run_id: str, *, reason: str | None = None) -> Operation[Cancelled]:
    """End a run. One that is cancelled already stays as it is. Raises RunNotFound, RunExpired, RunFinished."""

    def decode(answer: Any) -> Cancelled:
        word = _text(answer[0])
        _existing(run_id, word)
        before = State(_text(answer[1]))
        if word == "finished" and before is not State.CANCELLED:
            raise RunFinished(run_id, before)
        return Cancelled(run_id, before, _text(answer[2]), _text(answer[3]))

    return Operation("cancel", _write_keys(run_id), (run_id, to_json({"reason": reason} if reason else {})), decode)


def due(limit: int, *, lease: float) -> Operation[Due]:
    """Which runs are overdue, at most `limit`. Only sweepers ask: a long time without any means that Redis was away."""

    def decode(answer: Any) -> Due:
        return Due(tuple(map(_text, answer[0])), None if answer[1] < 0 else answer[1] / 1000, bool(answer[2]))

    return Operation("due", (keys.DEADLINES, keys.SWEEP), (limit, _ms(lease)), decode)


def overdue(run_id: str, *, pickup: float, lease: float, patient: bool = False) -> Operation[Unsent | Ended | None]:
    """Act on one overdue run; None if there was nothing to do. The message of an Unsent run is the caller's to send.

    `patient` gives each running attempt one more lease: Redis was away, and workers could not be heard.
    """

    def decode(answer: Any) -> Unsent | Ended | None:
        word = _text(answer[0])
        if word == "publish":
            return Unsent(run_id, RunRequest.stored(answer[2]), _text(answer[3]))
        if word == "failed":
            failure = Failure(_text(answer[1]), _text(answer[2]))
            return Ended(run_id, _text(answer[4]), failure, int(answer[3]), _text(answer[5]))
        return None

    return Operation("overdue", _write_keys(run_id), (run_id, _ms(pickup), _ms(lease), int(patient)), decode)


def shelve(run_id: str, *, pause: float) -> Operation[None]:
    """Look at an overdue run no sooner than in `pause` seconds: what is wrong with it must not keep the others waiting."""
    return Operation("shelve", (keys.DEADLINES,), (run_id, _ms(pause)), lambda _: None)


def unsent(run_id: str, *, pickup: float) -> Operation[None]:
    """The message of an Unsent run could not be sent: try again after `pickup` seconds, as if it had not been tried."""
    return Operation("unsent", _write_keys(run_id), (run_id, _ms(pickup)), lambda _: None)


def show(run_id: str) -> Operation[RunView]:
    """A run as it stands. Raises RunNotFound or RunExpired."""

    def decode(answer: Any) -> RunView:
        _existing(run_id, _text(answer[0]))
        fields = dict(_pairs(answer[1]))
        deadline = int(fields["deadline"])
        return RunView(
            id=run_id,
            flow=_text(fields["flow"]),
            mode=_text(fields["mode"]),
            state=State(_text(fields["state"])),
            attempt=int(fields["attempt"]),
            position=int(fields["seq"]),
            created_at=int(fields["created"]) / 1000,
            updated_at=int(fields["updated"]) / 1000,
            deadline=deadline / 1000 if deadline else None,
            step_index=int(fields["step_index"]),
            step_count=int(fields["step_count"]) if "step_count" in fields else None,
            execution_id=_text(fields["execution_id"]) if "execution_id" in fields else None,
            metadata=from_json(fields["request"]).get("metadata") or {},
            last=parse_entry(answer[2]),
            token=_text(fields["token"]),
        )

    return Operation("show", (keys.run(run_id), keys.log(run_id), keys.tombstone(run_id)), (), decode)


def peek(run_id: str) -> Operation[RunView | None]:
    """A run as it stands, or None if it is not there any more."""
    shown = show(run_id)

    def decode(answer: Any) -> RunView | None:
        try:
            return shown.decode(answer)
        except RunNotFound:
            return None

    return Operation(shown.script, shown.keys, shown.args, decode)


def read(run_id: str, *, after: int, limit: int) -> Operation[Page]:
    """Up to `limit` entries after a position. Raises RunNotFound, RunExpired, PositionAhead, EntriesTrimmed (law 7)."""

    def decode(answer: Any) -> Page:
        word = _text(answer[0])
        _existing(run_id, word)
        if word == "ahead":
            raise PositionAhead(run_id, after, int(answer[1]))
        if word == "trimmed":
            raise EntriesTrimmed(run_id, after, int(answer[1]))
        return Page(State(_text(answer[1])), int(answer[2]), tuple(map(parse_entry, answer[3])))

    return Operation("read", (keys.run(run_id), keys.log(run_id), keys.tombstone(run_id)), (after, limit), decode)


def recent(*, offset: int = 0, limit: int = 50) -> Operation[tuple[str, ...]]:
    """Ids of the newest runs, newest first."""
    return Operation("recent", (keys.INDEX,), (offset, limit), lambda answer: tuple(map(_text, answer)))


def entry(kind: EntryType | str, data: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """An entry as `advance` takes it."""
    return to_json(kind), to_json(data, inf_nan_mode="null")


def _write_keys(run_id: str) -> tuple[str, ...]:
    return keys.run(run_id), keys.log(run_id), keys.outputs(run_id), keys.DEADLINES, keys.tombstone(run_id)


def _existing(run_id: str, word: str) -> None:
    if word == "expired":
        raise RunExpired(run_id)
    if word == "unknown":
        raise RunNotFound(run_id)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _pairs(flat: Sequence[bytes | str]) -> Iterable[tuple[str, Any]]:
    return zip(map(_text, flat[::2]), flat[1::2], strict=True)
