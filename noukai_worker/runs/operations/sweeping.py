"""What sweepers do: find the runs that are overdue, and act on them one by one (law 5)."""

from __future__ import annotations

from typing import Any

from .. import keys
from ..answers import Due, Ended, Unsent
from ..model import Failure
from ..request import RunRequest
from .operation import Everywhere, Operation, ms, text, write_keys


def due(limit: int, *, lease: float) -> Operation[Due]:
    """Which runs are overdue, at most `limit`. Only sweepers ask: a long time without any means that Redis was away."""

    def decode(answer: Any) -> Due:
        return Due(tuple(map(text, answer[0])), None if answer[1] < 0 else answer[1] / 1000, bool(answer[2]))

    args = (limit, ms(lease))
    return Operation(
        "due", (keys.DEADLINES, keys.SWEEP), args, decode, everywhere=Everywhere(args, _all_due, partial=True)
    )


def overdue(run_id: str, *, pickup: float, lease: float, patient: bool = False) -> Operation[Unsent | Ended | None]:
    """Act on one overdue run; None if there was nothing to do. The message of an Unsent run is the caller's to send.

    `patient` gives each running attempt one more lease: Redis was away, and workers could not be heard.
    """

    def decode(answer: Any) -> Unsent | Ended | None:
        word = text(answer[0])
        if word == "publish":
            return Unsent(run_id, RunRequest.stored(answer[2]), text(answer[3]))
        if word == "failed":
            failure = Failure(text(answer[1]), text(answer[2]))
            return Ended(run_id, text(answer[4]), failure, int(answer[3]), text(answer[5]))
        return None

    return Operation("overdue", write_keys(run_id), (run_id, ms(pickup), ms(lease), int(patient)), decode, run_id, 0)


def shelve(run_id: str, *, pause: float) -> Operation[None]:
    """Look at an overdue run no sooner than in `pause` seconds: what is wrong with it must not keep the others waiting."""
    return Operation("shelve", (keys.DEADLINES,), (run_id, ms(pause)), lambda _: None, run_id)


def unsent(run_id: str, *, pickup: float) -> Operation[None]:
    """The message of an Unsent run could not be sent: try again after `pickup` seconds, as if it had not been tried."""
    return Operation("unsent", write_keys(run_id), (run_id, ms(pickup)), lambda _: None, run_id, ms(pickup))


def turn(run_id: str, *, pickup: float) -> Operation[Unsent | None]:
    """It is a waiting run's turn: its message is the caller's to send, within `pickup` seconds. None if it is not queued."""

    def decode(answer: Any) -> Unsent | None:
        return Unsent(run_id, RunRequest.stored(answer[1]), text(answer[2])) if text(answer[0]) == "publish" else None

    return Operation("turn", write_keys(run_id), (run_id, ms(pickup)), decode, run_id, ms(pickup))


def _all_due(answers: list[Any]) -> Any:
    nearest = [answer[1] for answer in answers if answer[1] >= 0]
    run_ids = [run_id for answer in answers for run_id in answer[0]]
    return run_ids, min(nearest, default=-1), max(answer[2] for answer in answers)
