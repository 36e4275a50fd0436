"""This room holds the frame: one event of a step stream, parsed once, beside the bytes it came in."""

from __future__ import annotations

from typing import Any

from noukai_sdk._models.checkpoint import Checkpoint
from noukai_sdk._models.events import MODELS, StreamEvent


class Frame:
    """One event as sent: `type` is the wire name, `data` strict JSON on one line, `payload` the same, parsed.

    `stepIndex` counts from the start of the flow in both. A frame whose JSON was broken has the payload
    `{"malformed": first 1000 characters}`. `checkpoint` is set on the frames that move it (a run has begun, a step
    has ended): once such a frame is stored, the run can continue from there.
    """

    __slots__ = ("checkpoint", "data", "malformed", "payload", "type")

    def __init__(self, type: str, data: bytes, payload: dict[str, Any], malformed: bool = False) -> None:  # noqa: A002
        self.type = type
        self.data = data
        self.payload = payload
        self.malformed = malformed
        self.checkpoint: Checkpoint | None = None

    def event(self) -> StreamEvent | None:
        """The typed event; None for a type that this package does not know, and for a malformed frame."""
        model = None if self.malformed else MODELS.get(self.type)
        return None if model is None else model.from_payload(self.type, self.payload)  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"Frame({self.type!r}, {self.data[:80]!r}{'…' if len(self.data) > 80 else ''})"
