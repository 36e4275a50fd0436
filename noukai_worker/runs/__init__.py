"""The run store: what runs are, where they live in Redis, and everything that may be done to them (DESIGN 2).

`operations` says what can be done, as data; a `RunStore` or `AsyncRunStore` does it. The Lua scripts are the only writers.
"""

from . import keys, operations, outcome
from .entry import TERMINAL_TYPES, Entry, EntryType
from .model import (
    FINDERS,
    TRANSITIONS,
    Checkpoint,
    Failure,
    Lease,
    Reply,
    RunView,
    State,
    rfc3339,
)
from .request import Mode, RunRequest
from .store import AsyncRunStore, RunStore, shared
from .tool_results import ToolResults

__all__ = [
    "FINDERS",
    "TERMINAL_TYPES",
    "TRANSITIONS",
    "AsyncRunStore",
    "Checkpoint",
    "Entry",
    "EntryType",
    "Failure",
    "Lease",
    "Mode",
    "Reply",
    "RunRequest",
    "RunStore",
    "RunView",
    "State",
    "ToolResults",
    "keys",
    "operations",
    "outcome",
    "rfc3339",
    "shared",
]
