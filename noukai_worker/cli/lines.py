"""What programs read: one line of JSON at a time."""

from __future__ import annotations

import json
import sys


def print_json(value: object) -> None:
    """Write one line of JSON to standard output."""
    sys.stdout.buffer.write(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()
