"""The entries of a run's log, decoded when they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from typing import Any

from pydantic_core import from_json

from ..errors import EntryUnreadable


class EntryType(StrEnum):
    """The types of entry that this project writes; all others are the service's event names, as on the wire."""

    QUEUED = "run.queued"
    STARTED = "run.started"
    SUBMITTED = "run.submitted"
    RETRYING = "run.retrying"
    PAUSED = "run.paused"
    RESUMED = "run.resumed"
    COMPLETED = "run.completed"
    FAILED = "run.failed"
    CANCELLED = "run.cancelled"


TERMINAL_TYPES = frozenset({EntryType.COMPLETED, EntryType.FAILED, EntryType.CANCELLED})
_Head = tuple[str, int, str, str, int]
_DATA = b',"data":'
_BEGIN = b'{"run_id":"'
_BETWEEN = b"}\n" + _BEGIN
"""No JSON text has it inside, so that it can be counted."""


class Entry:
    """One entry of a run's log, exactly as it was published.

    One that was read from there is decoded when it is first looked at: who passes `raw` on pays for no decoding. Should its JSON
    be broken inside, looking at it raises EntryUnreadable.
    """

    __slots__ = ("_data", "_head", "_raw")
    __hash__ = None  # type: ignore[assignment]  # its data is a dict
    __match_args__ = ("run_id", "seq", "type", "at", "attempt", "data")

    def __init__(
        self,
        run_id: str,
        seq: int,
        type: str,  # noqa: A002 - the member's name
        at: str,
        attempt: int,
        data: dict[str, Any],
        raw: bytes,
    ) -> None:
        self._raw = raw
        self._head: _Head | None = (run_id, seq, type, at, attempt)
        self._data: dict[str, Any] | None = data

    @property
    def run_id(self) -> str:
        return (self._head or self._read())[0]

    @property
    def seq(self) -> int:
        """1, 2, 3 … without a hole."""
        return (self._head or self._read())[1]

    @property
    def type(self) -> str:
        return (self._head or self._read())[2]

    @property
    def at(self) -> str:
        """When Redis numbered it: UTC, RFC 3339 with milliseconds."""
        return (self._head or self._read())[3]

    @property
    def attempt(self) -> int:
        """The attempt that wrote it; 0 before the first."""
        return (self._head or self._read())[4]

    @property
    def data(self) -> dict[str, Any]:
        data = self._data
        if data is None:
            # What stands between the member's name and the last brace: if that is JSON, it can be nothing else.
            raw = self._raw
            try:
                data = self._data = from_json(raw[raw.index(_DATA) + len(_DATA) : -1])
            except ValueError:
                self._read()
                data = self._data
        return data  # type: ignore[return-value]

    @property
    def raw(self) -> bytes:
        """The JSON text on the channel and in the log."""
        return self._raw

    @property
    def terminal(self) -> bool:
        """Whether this is the run's last entry."""
        return self.type in TERMINAL_TYPES

    def _read(self) -> _Head:
        try:
            found = from_json(self._raw)
            head, data = _head_of(found), found["data"]
        except (ValueError, KeyError, TypeError):
            raise EntryUnreadable(self._raw[:80].decode(errors="replace")) from None
        self._head = head
        if self._data is None:  # or what was given already would be another object now
            self._data = data
        return head

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return (self._head or self._read(), self.data) == (other._head or other._read(), other.data)

    def __repr__(self) -> str:
        return f"Entry({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__match_args__)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Entry, (*(self._head or self._read()), self.data, self._raw)


# `dataclasses.fields`, `replace` and `asdict` take it for the dataclass that it looks like.
Entry.__annotations__ = dict.fromkeys((*Entry.__match_args__, "raw"), "Any")
dataclass(init=False, repr=False, eq=False)(Entry)

_new = object.__new__
_head_of: Callable[[Any], _Head] = itemgetter("run_id", "seq", "type", "at", "attempt")


def unread(raw: bytes) -> Entry:
    """The entry with this JSON text, not looked at before somebody does."""
    entry = _new(Entry)
    entry._raw = raw
    entry._head = entry._data = None
    return entry


def parse_entry(raw: bytes | str) -> Entry:
    """An entry from its JSON text (DESIGN 5). Raises EntryUnreadable."""
    entry = unread(raw.encode() if isinstance(raw, str) else raw)
    entry._read()
    return entry


def parse_page(raws: list[bytes]) -> tuple[Entry, ...]:
    """Entries from their JSON texts, unread if each has the outline that our script gives it. Raises EntryUnreadable."""
    whole = b"\n".join(raws)
    if whole.startswith(_BEGIN) and whole.endswith(b"}") and whole.count(_BETWEEN) == len(raws) - 1:
        return tuple(map(unread, raws))
    return tuple(map(parse_entry, raws))
