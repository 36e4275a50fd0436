"""Who may begin when: a gate for each credential, with limits, pauses that the service asked for, and waiting rooms.

A gate's keys are in a slot of their own, so no script touches a gate and a run. What one of the two does not know of the other is
found out by asking: entering twice is harmless, and a run that is called in vain is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...settings import Limit
from .. import keys
from ..answers import Admitted, GateView, Released
from .operation import Argument, Operation, T, ms, text

Room = Literal["stream", "execute"]
ROOMS: tuple[Room, ...] = ("stream", "execute")


def room_of(mode: str) -> Room:
    """Which workers run this mode: each kind has a room of its own, so that none waits for the other."""
    return "execute" if mode == "execute" else "stream"


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate of a credential as one room sees it. `ttl` in seconds; `limit` None where it is not known, as in an enqueuer."""

    credential: str
    room: Room
    ttl: float
    limit: Limit | None = None

    def _operation(self, script: str, decode: Callable[[Any], T], *arguments: Argument) -> Operation[T]:
        names = "gate", "held", *(f"{self.room}:{name}" for name in ("ring", "waiting", "sent", "places"))
        limit = ("", "") if self.limit is None else (self.limit.concurrency or 0, repr(self.limit.rate or 0))
        return Operation(
            f"gate_{script}",
            tuple(keys.gate(self.credential, name) for name in names),
            (ms(self.ttl), *limit, *arguments),
            decode,
        )


def admit(gate: Gate, run_id: str, *, tenant: str | None, again: bool, lease: float) -> Operation[Admitted]:
    """Ask whether an attempt may begin; a permit is good for `lease` seconds. If not, the run is put into the room.

    `again` for a run that has been out before: it goes before its tenant's that have not. Asking twice does no harm.
    """

    def decode(answer: Any) -> Admitted:
        return Admitted(*map(bool, answer))

    return gate._operation("admit", decode, run_id, tenant or "", int(again), ms(lease))


def enter(
    gate: Gate, run_id: str, *, tenant: str | None, again: bool, pickup: float, limit: int = 1
) -> Operation[tuple[str, ...] | None]:
    """Put a tenant's run into the room, once. The runs whose turn it is, at most `limit`: their messages are the caller's to send.

    None if this run is not to wait, but to be sent as it is: it has no tenant, and is in no room.
    """

    def decode(answer: Any) -> tuple[str, ...] | None:
        return tuple(map(text, answer[1])) if text(answer[0]) == "waits" else None

    must = int(tenant is not None)
    return gate._operation("enter", decode, run_id, tenant or "", int(again), must, limit, ms(pickup))


def release(
    gate: Gate, *, pickup: float, limit: int = 8, ended: Sequence[str] = (), gone: Sequence[str] = ()
) -> Operation[Released]:
    """Call the runs whose turn it is, at most `limit`; first take back the permits of `ended` runs, and forget those `gone`."""

    def decode(answer: Any) -> Released:
        return Released(tuple(map(text, answer[0])), None if answer[1] < 0 else answer[1] / 1000)

    return gate._operation("release", decode, limit, ms(pickup), len(ended), *ended, *gone)


def renew(gate: Gate, run_ids: Sequence[str], *, lease: float) -> Operation[None]:
    """Keep the permits of these runs for another `lease` seconds."""
    return gate._operation("renew", lambda _: None, ms(lease), *run_ids)


def pause(gate: Gate, seconds: float) -> Operation[None]:
    """Let nothing begin for so long, and then slowly. A pause that is longer already stays; 0 ends it."""
    return gate._operation("pause", lambda _: None, ms(seconds))


def look(gate: Gate) -> Operation[GateView]:
    """The gate, and this room."""

    def decode(answer: Any) -> GateView:
        concurrency, rate, until, held, sent, tenants = answer
        lines = dict(zip(map(text, tenants[::2]), map(int, tenants[1::2]), strict=True))
        return GateView(
            gate.credential,
            int(concurrency) or None,
            float(rate) or None,
            int(until) / 1000 or None,
            int(held),
            {gate.room: lines},
            {gate.room: int(sent)},
        )

    return gate._operation("look", decode)
