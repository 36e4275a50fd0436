"""What everybody may look at: a run as it stands, its log, and lists of runs."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from ...errors import EntriesTrimmed, PositionAhead, RunNotFound
from .. import keys
from ..answers import Page
from ..entry import parse_entry, parse_page
from ..model import RunView, State
from .operation import Everywhere, Operation, existing, ms, newest, pairs, read_keys, text


def show(run_id: str) -> Operation[RunView]:
    """A run as it stands. Raises RunNotFound or RunExpired."""

    def decode(answer: Any) -> RunView:
        existing(run_id, text(answer[0]))
        fields = dict(pairs(answer[1]))
        deadline = int(fields["deadline"])
        request = from_json(fields["request"])
        return RunView(
            id=run_id,
            flow=text(fields["flow"]),
            mode=text(fields["mode"]),
            state=State(text(fields["state"])),
            attempt=int(fields["attempt"]),
            position=int(fields["seq"]),
            created_at=int(fields["created"]) / 1000,
            updated_at=int(fields["updated"]) / 1000,
            deadline=deadline / 1000 if deadline else None,
            step_index=int(fields["step_index"]),
            step_count=int(fields["step_count"]) if "step_count" in fields else None,
            execution_id=text(fields["execution_id"]) if "execution_id" in fields else None,
            metadata=request.get("metadata") or {},
            last=parse_entry(answer[2]),
            token=text(fields["token"]),
            credential=request.get("credential", "default"),
        )

    return Operation("show", read_keys(run_id), (), decode)


def peek(run_id: str) -> Operation[RunView | None]:
    """A run as it stands, or None if it is not there any more."""
    shown = show(run_id)

    def decode(answer: Any) -> RunView | None:
        try:
            return shown.decode(answer)
        except RunNotFound:
            return None

    return Operation(shown.script, shown.keys, shown.args, decode)


def state(run_id: str) -> Operation[State | None]:
    """The state that a run is in; None if it is gone."""
    return Operation("state", read_keys(run_id), (), lambda answer: State(text(answer)) if answer else None)


def read(run_id: str, *, after: int, limit: int) -> Operation[Page]:
    """Up to `limit` entries after a position. Raises RunNotFound, RunExpired, PositionAhead, EntriesTrimmed (law 7)."""

    def decode(answer: Any) -> Page:
        word = text(answer[0])
        existing(run_id, word)
        if word == "ahead":
            raise PositionAhead(run_id, after, int(answer[1]))
        if word == "trimmed":
            raise EntriesTrimmed(run_id, after, int(answer[1]))
        return Page(State(text(answer[1])), int(answer[2]), parse_page(answer[3]))

    return Operation("read", read_keys(run_id), (after, limit), decode)


def recent(*, offset: int = 0, limit: int = 50) -> Operation[tuple[str, ...]]:
    """Ids of the newest runs, newest first."""
    return _listing("recent", keys.INDEX, offset, limit)


def dead(*, since: float = 0.0, offset: int = 0, limit: int = 50) -> Operation[tuple[str, ...]]:
    """Ids of failed runs, those that failed last first; `since` in Unix seconds."""
    return _listing("dead", keys.DEAD, offset, limit, ms(since))


def _listing(script: str, key: str, offset: int, limit: int, *more: int) -> Operation[tuple[str, ...]]:
    return Operation(
        script,
        (key,),
        (offset, limit, *more),
        lambda answer: tuple(map(text, answer[::2])),
        # The page of a whole is somewhere in the beginnings of its parts.
        everywhere=Everywhere((0, offset + limit, *more), lambda answers: newest(answers, offset, limit)),
    )
