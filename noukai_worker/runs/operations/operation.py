"""What an operation on a run is, and what all of them share: keys, and the words of Redis' answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...errors import RunExpired, RunNotFound
from .. import keys

T = TypeVar("T")
Argument = str | bytes | int


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """One call of one script. `decode` turns Redis' answer into `T`, or raises one of our errors."""

    script: str
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    decode: Callable[[Any], T]


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


def ms(seconds: float) -> int:
    """Seconds as the scripts want them."""
    return round(seconds * 1000)


def text(value: bytes | str) -> str:
    """A word of an answer."""
    return value.decode() if isinstance(value, bytes) else value


def pairs(flat: Sequence[bytes | str]) -> Iterable[tuple[str, Any]]:
    """A hash as Redis gives it."""
    return zip(map(text, flat[::2]), flat[1::2], strict=True)
