"""This room holds a session that is played back: which recorded run answers which call (WIRE.md 6.9).

The Nth `execute` of a flow gets its Nth run recorded by `execute`, the Nth step stream its Nth by `step`; input is not
compared. A record holds the flow's bare name, so two flows that differ in org or project only cannot be told apart.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter, deque
from collections.abc import Iterator
from typing import Literal

from noukai_sdk._errors import ReplayLeftoverError, ReplayMissError, ReplayNoSnapshotsError
from noukai_sdk._models.sessions import RecordedRun

Trigger = Literal["execute", "step"]
FlowName = tuple[str, ...]


class Cassette:
    """The runs of one session that are still to be played. Threads may share it."""

    def __init__(self, session_id: str, runs: list[RecordedRun]) -> None:
        """Raises ReplayNoSnapshotsError if a run was recorded without its outputs."""
        self.session_id = session_id
        # Cassettes of other sessions, which single calls have named.
        self.others: dict[str, Cassette] = {}
        self._tracks: dict[tuple[str, str], deque[RecordedRun]] = {}
        self._under_way: Counter[tuple[str, str]] = Counter()
        self._names: dict[str, FlowName] = {}
        for run in runs:
            # No call can ask for anything else, such as a job: it is not missed if nobody does (WIRE.md 8.20).
            if run.trigger not in {"execute", "step"} or run.slug is None:
                continue
            if not run.has_snapshots:
                raise ReplayNoSnapshotsError(
                    f"session {session_id}: run {run.execution_id} was recorded without outputs; set the trace capture mode "
                    "of the flow to 'full' or 'redacted', and record the session again",
                    execution_id=run.execution_id,
                )
            self._tracks.setdefault((run.trigger, run.slug), deque()).append(run)
        self._recorded = {track: tuple(runs) for track, runs in self._tracks.items()}

    def take(self, trigger: Trigger, flow: FlowName, execution_id: str | None = None) -> RecordedRun:
        """The run that answers the next call, or the run of this id, which may have been played in part.

        Raises ReplayMissError if it is not there.
        """
        self._check_name(flow)
        track = self._tracks.get((trigger, flow[-1]), deque())
        recorded = self._recorded.get((trigger, flow[-1]), ())
        if execution_id is None:
            with contextlib.suppress(IndexError):
                return track.popleft()
            raise ReplayMissError(
                f"session {self.session_id} has {len(recorded)} run(s) of {flow[-1]!r} recorded by {trigger!r}, and this call asks "
                "for one more; record the session again if the code has changed"
            )
        for run in recorded:
            if run.execution_id == execution_id:
                with contextlib.suppress(ValueError):
                    track.remove(run)
                return run
        raise ReplayMissError(
            f"session {self.session_id} has no run {execution_id} of {flow[-1]!r} to continue",
            execution_id=execution_id,
        )

    def skip(self, trigger: Trigger, flow: FlowName) -> None:
        """A call was answered by another session: it counts here too, if there is a run for it."""
        if track := self._tracks.get((trigger, flow[-1])):
            track.popleft()

    @contextlib.contextmanager
    def one_at_a_time(self, trigger: Trigger, flow: FlowName) -> Iterator[None]:
        """Warns if a call to the same flow is under way: which of them came first when recording is chance."""
        track = (trigger, flow[-1])
        if self._under_way[track]:
            warnings.warn(
                f"calls to {flow[-1]!r} run at the same time while session {self.session_id} is played back; recorded runs "
                "are given out in the order of the calls, which may not be that of the recording",
                UserWarning,
                stacklevel=2,
            )
        self._under_way[track] += 1
        try:
            yield
        finally:
            self._under_way[track] -= 1

    def check_empty(self) -> None:
        """Raises ReplayLeftoverError if runs are left that no call asked for."""
        left = [run.execution_id for track in self._tracks.values() for run in track]
        if left:
            raise ReplayLeftoverError(
                f"session {self.session_id}: {len(left)} unconsumed run(s), {', '.join(left)}; the code stopped early, or "
                "no longer makes these calls: record the session again if that is intended"
            )

    def _check_name(self, flow: FlowName) -> None:
        if self._names.setdefault(flow[-1], flow) != flow:
            warnings.warn(
                f"{'/'.join(flow)} and {'/'.join(self._names[flow[-1]])} share a name, which is all that a recording keeps: "
                "a call to one may get a run of the other",
                UserWarning,
                stacklevel=2,
            )
