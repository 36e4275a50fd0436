"""Everything that can be done to a run, as data: which script, which keys, which arguments, how the answer is read.

No I/O happens here. `store.py` performs an operation on one connection, the streaming writer performs many in one trip; both get
the same answers and raise the same errors.
"""

from ..entry import parse_entry
from .attempts import advance, claim, create, entry
from .gates import Gate, admit, enter, look, pause, release, renew, room_of
from .operation import Operation, T, chained
from .orders import cancel, redrive, resume
from .reading import dead, peek, read, recent, show, state
from .sweeping import due, overdue, shelve, turn, unsent
from .telling import tell

__all__ = [
    "Gate",
    "Operation",
    "T",
    "admit",
    "advance",
    "cancel",
    "chained",
    "claim",
    "create",
    "dead",
    "due",
    "enter",
    "entry",
    "look",
    "overdue",
    "parse_entry",
    "pause",
    "peek",
    "read",
    "recent",
    "redrive",
    "release",
    "renew",
    "resume",
    "room_of",
    "shelve",
    "show",
    "state",
    "tell",
    "turn",
    "unsent",
]
