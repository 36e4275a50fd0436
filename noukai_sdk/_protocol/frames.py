"""This room makes frames of server-sent events: their JSON is parsed, leniently if need be (WIRE.md 4.2)."""

from __future__ import annotations

from typing import Any

from noukai_sdk._errors import FrameTooLargeError
from noukai_sdk._json import compact, decode, decode_leniently
from noukai_sdk._models.frames import Frame
from noukai_sdk._protocol.sse import Event

DEFAULT_MAX_FRAME_BYTES = 32 * 1024 * 1024
_MALFORMED_CHARACTERS = 1000


def frame_of(name: str, data: bytes) -> Frame:
    """The frame of an event; never raises."""
    try:
        payload = decode(data)
    except ValueError:
        payload = None
    if type(payload) is dict and name and b"\n" not in data:
        return Frame(name, data, payload)
    return _unusual_frame(name, data, payload)


def whole(events: list[Event]) -> list[Event]:
    """Those that were not cut off by the end of the body, whose JSON shows it."""
    return [event for event in events if _is_object(event[1])]


def too_large(limit: int) -> FrameTooLargeError:
    """The error for a frame of more than `limit` bytes."""
    return FrameTooLargeError(f"a frame is larger than {limit} bytes; raise max_frame_bytes if that is to be expected")


def _unusual_frame(name: str, data: bytes, payload: Any) -> Frame:
    """A frame off the fast path: no name, several data lines, NaN, lone surrogates, or not an object at all."""
    if payload is None:
        try:
            payload = decode_leniently(data)
        except ValueError:
            payload = None
    elif type(payload) is dict and b"\n" not in data:
        return Frame(name or _name_inside(payload), data, payload)
    if type(payload) is dict:
        return Frame(name or _name_inside(payload), compact(payload), payload)
    start = data[: 4 * _MALFORMED_CHARACTERS].decode("utf-8", "replace")[:_MALFORMED_CHARACTERS]
    broken = {"malformed": start}
    return Frame(name or "message", compact(broken), broken, malformed=True)


def _name_inside(payload: dict[str, Any]) -> str:
    name = payload.get("eventType")
    return name if isinstance(name, str) and name else "message"


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(decode_leniently(text), dict)
    except ValueError:
        return False
