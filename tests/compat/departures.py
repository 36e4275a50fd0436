"""Where our client does otherwise than the published one, and why: the weaknesses that are answered (WIRE.md 8).

`docs/compatibility.md` shows this table. An entry that is no difference any more fails its test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Departure:
    """`weakness` is a section of WIRE.md, `reason` one sentence for users, `outcome` what our client makes of it."""

    weakness: str
    reason: str
    outcome: Any


DEPARTURES = {
    "tools.a_handler_that_returns_text": Departure(
        "6.6",
        "Tool results that are no list are a `TypeError`, as `None` is; no error of pydantic's escapes.",
        {"caught": "TypeError"},
    ),
    "tools.resumed_twice": Departure(
        "8.16",
        "A pause is answered once: the second resume is a `RuntimeError`, and nothing is sent.",
        {"escaped": "RuntimeError", "asked": 2},
    ),
    "tools.the_session_after_a_resume": Departure(
        "8.16",
        "The result of a resume knows its session, and the session's header is sent again.",
        ["s-1", "s-1", ["s-1", "s-1"]],
    ),
}
