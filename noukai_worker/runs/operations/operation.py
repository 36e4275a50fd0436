"""What an operation on a run is, and what all of them share: keys, and the words of Redis' answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...errors import NoukaiWorkerError, RunExpired, RunNotFound
from .. import keys

S = TypeVar("S")
T = TypeVar("T")
Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Everywhere:
    """How a cluster is asked for something that all runs share: every part of it with `args`, and the answers are made one."""

    args: tuple[Argument, ...]
    merge: Callable[[list[Any]], Any]
    partial: bool = False
    """Whether the parts that can be reached will do."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call of one script. `decode` turns Redis' answer into `T`, or raises one of our errors.

    `then` is carried out behind it, in the same act on a single server, if the script's answer begins with 1 or ok (`chained`).

    The rest is for a cluster (mirror.py): whose run it is; in how many ms at the latest somebody must look at it if the operation
    is not carried through (None if the deadline only moves away); how to ask for what is not one run's.
    """

    script: str
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    decode: Callable[[Any], T]
    run_id: str = ""
    ahead: int | None = None
    everywhere: Everywhere | None = None
    then: Operation[Any] | None = None


def chained(first: Operation[S], second: Operation[T]) -> Operation[tuple[S, T | NoukaiWorkerError | None]]:
    """The second if the first's answer begins with 1 or ok, in one trip; what it raises is returned, None if it was not due."""

    def decode(answer: Any) -> tuple[S, T | NoukaiWorkerError | None]:
        return first.decode(answer[0]), behind(answer[1]) if len(answer) > 1 else None

    def behind(answer: Any) -> T | NoukaiWorkerError:
        try:
            return second.decode(answer)
        except NoukaiWorkerError as error:
            return error

    return Operation(first.script, first.keys, first.args, decode, first.run_id, first.ahead, first.everywhere, second)


def write_keys(run_id: str) -> tuple[str, ...]:
    """The keys of every script that writes to a run: the run's own, then those that all runs share."""
    own = keys.run(run_id), keys.log(run_id), keys.outputs(run_id), keys.tombstone(run_id)
    return *own, keys.DEADLINES, keys.DEAD


def read_keys(run_id: str) -> tuple[str, ...]:
    """The keys of every script that only reads."""
    return keys.run(run_id), keys.log(run_id), keys.tombstone(run_id)


def existing(run_id: str, word: str) -> None:
    """Raise RunExpired or RunNotFound if that is what a script has answered."""
    if word == "expired":
        raise RunExpired(run_id)
    if word == "unknown":
        raise RunNotFound(run_id)


def newest(scored: list[list[Any]], offset: int, limit: int) -> list[Any]:
    """One stretch of several lists of ids and scores (flat, as Redis gives them), the highest score first."""
    rows = [(float(flat[n + 1]), flat[n]) for flat in scored for n in range(0, len(flat), 2)]
    rows.sort(key=lambda row: row[0], reverse=True)
    return [part for score, one in rows[offset : offset + limit] for part in (one, score)]


def ms(seconds: float) -> int:
    """Seconds as the scripts want them."""
    return round(seconds * 1000)


def text(value: bytes | str) -> str:
    """A word of an answer."""
    return value.decode() if isinstance(value, bytes) else value


def pairs(flat: Sequence[bytes | str]) -> Iterable[tuple[str, Any]]:
    """A hash as Redis gives it."""
    return zip(map(text, flat[::2]), flat[1::2], strict=True)
