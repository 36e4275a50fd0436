"""What today's code does not promise yet. A gap is closed by deleting its line here: its assertions are then on in every row."""

from __future__ import annotations

RECONCILE = (
    "an execute run whose worker was lost, or whose answer was cut off, takes the finished result from its session"
)
"""Until then such a run ends as `run.failed`, code `outcome_unknown` (paid once, its result lost)."""

DRAIN_EXECUTE = "a stopping execute worker gives its runs back after a grace time"
"""Until then it waits for them, however long they take."""

PAUSED_CREDENTIAL = "a 429's Retry-After pauses the credential, and there is no herd when it is over"
"""Until then each run waits for itself only."""

OPEN: frozenset[str] = frozenset({RECONCILE, DRAIN_EXECUTE, PAUSED_CREDENTIAL})
