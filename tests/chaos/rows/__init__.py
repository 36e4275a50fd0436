"""The rows of the table, in the order of their numbers. Each is a module with a TITLE and `play`."""

from __future__ import annotations

from types import ModuleType

from . import killed

ROWS: dict[str, ModuleType] = {
    "1": killed,
}
