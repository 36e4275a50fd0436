"""Everything that can be done to a run, as data: which script, which keys, which arguments, how the answer is read.

No I/O happens here. `store.py` performs an operation on one connection, the streaming writer performs many in one trip; both get
the same answers and raise the same errors.
"""

from .attempts import advance, claim, create, entry
from .operation import Operation, T
from .orders import cancel, redrive, resume
from .reading import dead, parse_entry, peek, read, recent, show
from .sweeping import due, overdue, shelve, unsent

__all__ = [
    "Operation",
    "T",
    "advance",
    "cancel",
    "claim",
    "create",
    "dead",
    "due",
    "entry",
    "overdue",
    "parse_entry",
    "peek",
    "read",
    "recent",
    "redrive",
    "resume",
    "shelve",
    "show",
    "unsent",
]
