"""Who watches a run while it happens: what is told to a caller is told to them too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

from .connection import HangUp
from .events import Sink
from .runs import Run

#: What belongs to a run. The pauses between calls, the beginning and the end are nobody's news: a watcher is told
#: the beginning when it comes and the end when it is there.
_NEWS = frozenset(
    {"step_started", "step_input", "step_output", "step_progress", "loop_completed", "step_completed", "step_error"}
)

#: An event and its data; None is the end of the run, `HangUp` that of a watcher who is too far behind.
News = tuple[str, Mapping[str, object]] | HangUp | None
#: Events that are kept for a watcher who reads slowly. One who needs more is cut off: better no trace than one with a hole.
MOST_BEHIND = 10_000


class Watchers:
    """The queues of those who watch, by run."""

    def __init__(self) -> None:
        self._queues: dict[str, set[asyncio.Queue[News]]] = {}

    @contextlib.contextmanager
    def watching(self, run: Run) -> Iterator[asyncio.Queue[News]]:
        """Collect what happens to ``run`` during the block."""
        queue: asyncio.Queue[News] = asyncio.Queue()
        queues = self._queues.setdefault(run.execution_id, set())
        queues.add(queue)
        try:
            yield queue
        finally:
            queues.discard(queue)
            if not queues:
                self._queues.pop(run.execution_id, None)

    def has(self, run: Run) -> bool:
        """Tell whether anybody watches ``run``."""
        return run.execution_id in self._queues

    def tell(self, run: Run, news: News) -> None:
        """Tell those who watch ``run``, and who are not too far behind."""
        for queue in self._queues.get(run.execution_id, ()):
            if queue.qsize() < MOST_BEHIND:
                queue.put_nowait(news)
            elif queue.qsize() == MOST_BEHIND:
                queue.put_nowait(HangUp())


class Watched:
    """A sink that also tells the watchers of a run, once the caller has been told; positions are those in the flow."""

    def __init__(self, run: Run, sink: Sink, watchers: Watchers) -> None:
        self._run = run
        self._sink = sink
        self._watchers = watchers
        self.wait = sink.wait
        self.wait_for = sink.wait_for

    async def emit(self, event: str, data: Mapping[str, object]) -> bool:
        """Send an event; False if the caller cannot have understood it."""
        whole = await self._sink.emit(event, data)
        if event in _NEWS and self._watchers.has(self._run):
            if "stepIndex" in data:
                data = {**data, "stepIndex": self._run.step_position(str(data["stepId"]))}
            self._watchers.tell(self._run, (event, data))
        return whole
