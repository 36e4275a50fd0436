"""Bad manners to order: what the server shall do wrong, how often, and to whom.

Orders wait in a queue. A request takes the first order that it matches and that can be carried out on its
endpoint, and uses it up by one. An order that names no endpoint is for calls; whoever only reads (polls, traces,
sessions) meets those that name theirs. ``DELETE /_control/manners`` forgets them all.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

CallName = Literal["execute", "step", "jobs"]
ReadName = Literal["poll", "trace", "step_trace", "live_trace", "session"]
EndpointName = Literal[CallName, ReadName]
#: What begins or continues work; reads do not.
CALLS: tuple[CallName, ...] = get_args(CallName)
READS: tuple[ReadName, ...] = get_args(ReadName)
Count = Annotated[int, Field(ge=0, le=10_000_000)]
Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]

#: Each kind of trouble and the endpoints where it makes sense. ``delay`` alone is a kind too, and goes with any other.
KINDS: dict[str, tuple[EndpointName, ...]] = {
    "status": (*CALLS, *READS),
    "cut_before_work": (*CALLS, *READS),
    "cut_after_work": ("execute", "jobs"),
    "outlive_client": ("execute",),
    "drop_after_events": ("step", "live_trace"),
    "stall_after_events": ("step", "live_trace"),
    "malformed_after_events": ("step", "live_trace"),
}
_BELONGS_TO = {
    "retry_after": "status",
    "code": "status",
    "message": "status",
    "body": "status",
    "seconds": "stall_after_events",
    "reset": "drop_after_events",
}


class Manner(BaseModel):
    """One way to misbehave; exactly one kind, optionally after ``delay`` seconds.

    =============================  ===================================================================================
    ``delay``                      wait so many seconds, then go on (or do the kind given beside it)
    ``status``                     answer with it, in the error shape with ``code`` and ``message``, or with the text
                                   ``body`` as HTML; ``retry_after`` is seconds or an HTTP date
    ``cut_before_work``            close the connection without an answer, having done nothing
    ``cut_after_work``             do the work, count it, then close the connection without an answer (a job is
                                   queued)
    ``outlive_client``             a caller who hangs up does not stop the work, though the flow says that it does
    ``drop_after_events``          close after so many frames, in the middle of the chunked body; with ``reset`` by a TCP
                                   reset, which may also swallow frames that the caller has not read yet
    ``stall_after_events``         say nothing for ``seconds`` after so many frames, then go on
    ``malformed_after_events``     break the next frame after so many, then go on
    =============================  ===================================================================================
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    delay: Seconds = 0.0
    status: int | None = Field(default=None, ge=200, le=599)
    retry_after: Seconds | str | None = None
    code: str | None = None
    message: str | None = None
    body: str | None = None
    cut_before_work: bool = False
    cut_after_work: bool = False
    outlive_client: bool = False
    drop_after_events: Count | None = None
    reset: bool = False
    stall_after_events: Count | None = None
    seconds: Seconds | None = None
    malformed_after_events: Count | None = None

    @property
    def kind(self) -> str:
        """The name of the trouble: a key of `KINDS`, or ``delay``."""
        return next((kind for kind in KINDS if self._has(kind)), "delay")

    @property
    def at_event(self) -> int | None:
        """After how many frames a stream is spoilt, if at all."""
        counts = (self.drop_after_events, self.stall_after_events, self.malformed_after_events)
        return next((count for count in counts if count is not None), None)

    def suits(self, endpoint: EndpointName) -> bool:
        """Tell whether this can be done on ``endpoint``."""
        return endpoint in KINDS.get(self.kind, (endpoint,))

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> Self:
        kinds = [kind for kind in KINDS if self._has(kind)]
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(kinds)} exclude each other; send them as separate orders")
        if not kinds and not self.delay:
            raise ValueError(f"name what to do: delay, {', '.join(KINDS)}")
        for field, kind in _BELONGS_TO.items():
            if self._has(field) and kind not in kinds:
                raise ValueError(f"{field} only goes with {kind}")
        if kinds == ["stall_after_events"] and self.seconds is None:
            raise ValueError("stall_after_events needs seconds")
        return self

    def _has(self, field: str) -> bool:
        value = getattr(self, field)
        return value is not None and value is not False


class Order(BaseModel):
    """``times`` requests that match ``flow`` (path), ``endpoint`` and ``message``, if given, are met with ``manner``.

    Without ``endpoint`` all calls match. A read's message is that of its run; a session has neither flow nor message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    manner: Manner
    times: int = Field(default=1, ge=1, le=10_000_000)
    flow: str | None = None
    endpoint: EndpointName | None = None
    message: str | None = None

    @model_validator(mode="after")
    def _can_be_carried_out(self) -> Self:
        if self.endpoint is not None and not self.manner.suits(self.endpoint):
            raise ValueError(f"{self.manner.kind} cannot be done on {self.endpoint}; leave endpoint out")
        return self

    def matches(self, endpoint: EndpointName, flow: str | None, message: str | None) -> bool:
        """Tell whether a request is meant."""
        return (
            self.manner.suits(endpoint)
            and (self.endpoint == endpoint if self.endpoint else endpoint in CALLS)
            and self.flow in (None, flow)
            and self.message in (None, message)
        )


class Manners:
    """The queue of orders."""

    def __init__(self) -> None:
        self._waiting: list[Order] = []

    @property
    def waiting(self) -> tuple[Order, ...]:
        """The orders not yet used up, first in line first; ``times`` is what is left of each."""
        return tuple(self._waiting)

    def add(self, order: Order) -> None:
        """Put ``order`` at the end of the line."""
        self._waiting.append(order)

    def take(self, endpoint: EndpointName, flow: str | None, message: str | None) -> Manner | None:
        """Return how to treat this request, using up one of the first matching order; None: politely."""
        for place, order in enumerate(self._waiting):
            if order.matches(endpoint, flow, message):
                if order.times == 1:
                    del self._waiting[place]
                else:
                    self._waiting[place] = order.model_copy(update={"times": order.times - 1})
                return order.manner
        return None

    def clear(self) -> int:
        """Forget all orders; return how many there were."""
        count = len(self._waiting)
        self._waiting.clear()
        return count
