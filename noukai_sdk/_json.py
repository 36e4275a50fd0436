"""This room turns values into JSON text and back, strictly (RFC 8259: no NaN)."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json


def encode(value: Any) -> bytes:
    """Compact UTF-8 JSON. Raises ValueError for what JSON cannot say."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"the request cannot be written as JSON ({error}); use only dict, list, str, int, finite float, bool, None"
        ) from error


def compact(payload: dict[str, Any]) -> bytes:
    """A parsed payload as one line of JSON again."""
    try:
        return to_json(payload, inf_nan_mode="null")
    except ValueError:  # nested deeper than pydantic goes
        return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def decode(text: bytes) -> Any:
    """The value of strict JSON. Raises ValueError."""
    return from_json(text, allow_inf_nan=False)


def decode_leniently(text: bytes) -> Any:
    """The value of nearly strict JSON. Raises ValueError.

    NaN and Infinity become None, bad UTF-8 and lone surrogates U+FFFD; control characters may stand unescaped.
    """
    try:
        value = json.loads(text.decode("utf-8", "replace"), parse_constant=lambda _: None, strict=False)
        written = json.dumps(value, ensure_ascii=False)
        repaired = written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value if repaired == written else json.loads(repaired)
    except RecursionError as error:
        raise ValueError("JSON nested too deep") from error
