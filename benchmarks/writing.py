"""Runs whose entries benchmarks write themselves, through the store, as a streaming worker does: no upstream to wait for."""

from __future__ import annotations

from collections.abc import Iterable

from noukai_worker import enqueue
from noukai_worker.runs import RunStore, operations
from noukai_worker.runs.answers import Advanced, Claimed

ENTRY = operations.entry("step_output", {"stepIndex": 0, "stepId": "write", "text": "x" * 100})
"""About 250 bytes as it is published."""
GIVEN = 2
"""Entries that a run begins with: it was queued, and started."""
_LEASE = 3600.0


class Written:
    """One running run: `write` appends entries, each logged and published."""

    def __init__(self, store: RunStore) -> None:
        self.id = enqueue("acme/demo/load", message="x").id
        claimed = store.perform(operations.claim(self.id, claim_id="benchmark", lease=_LEASE, worker="benchmark"))
        assert isinstance(claimed, Claimed)
        self.position = GIVEN
        self._store, self._lease = store, claimed.lease

    def write(self, count: int = 1) -> None:
        """Append so many entries in one act."""
        written = self._store.perform(
            operations.advance(self._lease, position=self.position, extend=_LEASE, entries=[ENTRY] * count)
        )
        assert isinstance(written, Advanced), written
        self.position = written.position


def wave(runs: Iterable[Written]) -> None:
    """One entry for each run."""
    for run in runs:
        run.write()
