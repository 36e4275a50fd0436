"""The entries of a run's log, decoded when they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a run's log, exactly as it was published.

    One that was read from there is decoded when it is first looked at: who passes `raw` on pays for no decoding. Should its JSON
    be broken inside, looking at it raises EntryUnreadable.
    """

    run_id: str
    seq: int
    """1, 2, 3 … without a hole."""
    type: str
    at: str
    """When Redis numbered it: UTC, RFC 3339 with milliseconds."""
    attempt: int
    """The attempt that wrote it; 0 before the first."""
    data: dict[str, Any]
    raw: bytes = field(repr=False, compare=False)
    """The JSON text on the channel and in the log."""

    @property
    def terminal(self) -> bool:
        """Whether this is the run's last entry."""
        return self.type in TERMINAL_TYPES

    if not TYPE_CHECKING:  # or mistyped names would pass

        def __getattr__(self, name: str) -> Any:
            # Called for a slot that is still empty.
            if name == "data":
                data = _data_of(self.raw)
                _put["data"](self, data)
                return data
            if name not in _MEMBERS:
                raise AttributeError(f"an entry has no {name!r}", name=name, obj=self)
            *head, data = _decoded(self.raw)
            for member, value in zip(_HEAD, head, strict=True):
                _put[member](self, value)
            try:
                _get_data(self)
            except AttributeError:  # or what was given already would be another object now
                _put["data"](self, data)
            return getattr(self, name)


_new = object.__new__
_put: dict[str, Callable[[Entry, Any], None]] = {f.name: getattr(Entry, f.name).__set__ for f in fields(Entry)}
_put_raw, _get_data = _put["raw"], getattr(Entry, "data").__get__  # noqa: B009 - the slot, not what is in it
_MEMBERS = ("run_id", "seq", "type", "at", "attempt", "data")
_HEAD = _MEMBERS[:-1]
_DATA = b',"data":'
_BEGIN = b'{"run_id":"'
_BETWEEN = b"}\n" + _BEGIN
"""No JSON text has it inside, so that it can be counted."""


def parse_entry(raw: bytes | str) -> Entry:
    """An entry from its JSON text (DESIGN 5). Raises EntryUnreadable."""
    raw = raw.encode() if isinstance(raw, str) else raw
    run_id, seq, kind, at, attempt, data = _decoded(raw)
    return Entry(run_id, seq, kind, at, attempt, data, raw=raw)


def unread(raw: bytes) -> Entry:
    """The same, but not looked at before somebody does."""
    entry = _new(Entry)
    _put_raw(entry, raw)
    return entry


def parse_page(raws: list[bytes]) -> tuple[Entry, ...]:
    """Entries from their JSON texts, unread if each has the outline that our script gives it. Raises EntryUnreadable."""
    whole = b"\n".join(raws)
    if whole.startswith(_BEGIN) and whole.endswith(b"}") and whole.count(_BETWEEN) == len(raws) - 1:
        return tuple(map(unread, raws))
    return tuple(map(parse_entry, raws))


def _data_of(raw: bytes) -> Any:
    """`data` alone, as what stands between its name and the last brace; whole, that can be nothing else."""
    try:
        if raw.endswith(b"}"):
            return from_json(raw[raw.index(_DATA) + len(_DATA) : -1])
    except ValueError:
        pass
    return _decoded(raw)[-1]


def _decoded(raw: bytes) -> tuple[Any, ...]:
    try:
        found = from_json(raw)
        return tuple([found[member] for member in _MEMBERS])
    except (ValueError, KeyError, TypeError):
        raise EntryUnreadable(raw[:80].decode(errors="replace")) from None
