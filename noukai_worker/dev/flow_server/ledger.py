"""The ledger: what was asked of the server and what it did for it, so that a test can prove what was paid.

*Requests* are calls that begin or continue work; *reads* (polls, traces, sessions) are kept apart from them. A step
execution is *started* when the server begins it, *resumed* when its caller comes back with tool results, and *completed*
when the frame that says so has been written (``/step``) or its work is done (``/execute``, jobs).
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .clock import Clock
from .manners import CALLS, EndpointName
from .runs import Run

#: How many requests and runs are kept; ``forgotten`` in the counts tells of the rest.
KEPT_REQUESTS = 200_000
KEPT_RUNS = 50_000

Mark = Literal["started", "resumed", "completed", "failed"]


@dataclass(slots=True)
class RequestEntry:
    """One request; ``at`` is when it arrived, ``status`` None until answered, ``flow`` None for a session."""

    at: float
    endpoint: EndpointName
    flow: str | None
    session_id: str | None = None
    message: str | None = None
    execution_id: str | None = None
    step_index: int | None = None
    manner: str | None = None
    status: int | None = None
    code: str | None = None


@dataclass(slots=True)
class RunEntry:
    """What was done for one run since the ledger was opened."""

    run: Run
    executions: int = 0
    steps: dict[str, Counter[str]] = field(default_factory=dict)


class Ledger:
    """All entries, in order of arrival."""

    def __init__(self, now: Clock, kept_requests: int = KEPT_REQUESTS, kept_runs: int = KEPT_RUNS) -> None:
        self._now = now
        self._kept_runs = kept_runs
        self._requests: deque[RequestEntry] = deque(maxlen=kept_requests)
        self._reads: deque[RequestEntry] = deque(maxlen=kept_requests)
        self._runs: OrderedDict[str, RunEntry] = OrderedDict()
        self.reset()

    def reset(self) -> None:
        """Start counting from nothing. Runs in flight go on and appear again when something happens to them."""
        self._since = self._now()
        self._requests.clear()
        self._reads.clear()
        self._runs.clear()
        self._forgotten = 0
        self._marks: Counter[tuple[str, str, Mark]] = Counter()

    def request(self, endpoint: EndpointName, flow: str | None) -> RequestEntry:
        """Note a request that has just come in."""
        kept = self._requests if endpoint in CALLS else self._reads
        if len(kept) == kept.maxlen:
            self._forgotten += 1
        entry = RequestEntry(self._now(), endpoint, flow)
        kept.append(entry)
        return entry

    def execution(self, run: Run) -> None:
        """Note a fresh run."""
        self._entry(run).executions += 1

    def step(self, run: Run, step_id: str, mark: Mark) -> int:
        """Note what happened to a step; return how often it now has, over all runs."""
        self._entry(run).steps.setdefault(step_id, Counter())[mark] += 1
        self._marks[run.flow.path, step_id, mark] += 1
        return self._marks[run.flow.path, step_id, mark]

    def failures(self, flow: str, step_id: str) -> int:
        """Return how often a step of a flow has failed."""
        return self._marks[flow, step_id, "failed"]

    def counts(self, wanted: dict[str, str]) -> dict[str, Any]:
        """Return the ledger as JSON, narrowed to ``wanted`` (flow, session_id, message, execution_id)."""
        requests = [entry for entry in self._requests if _is(entry, wanted)]
        reads = [entry for entry in self._reads if _is(entry, wanted)]
        asked = requests + reads
        runs = [entry for entry in self._runs.values() if _is(entry.run, wanted)]
        return {
            "since": self._since,
            "forgotten": self._forgotten,
            "requests": [asdict(entry) for entry in requests],
            "reads": [asdict(entry) for entry in reads],
            "runs": {
                entry.run.execution_id: _run_counts(entry, asked_for) for entry, asked_for in _paired(runs, asked)
            },
            "flows": _grouped("flow", asked, runs),
            "sessions": _grouped("session_id", asked, runs),
            "messages": _grouped("message", asked, runs),
        }

    def _entry(self, run: Run) -> RunEntry:
        entry = self._runs.get(run.execution_id)
        if entry is None:
            entry = self._runs[run.execution_id] = RunEntry(run)
            if len(self._runs) > self._kept_runs:
                self._runs.popitem(last=False)
                self._forgotten += 1
        return entry


def _value(thing: RequestEntry | Run, key: str) -> str | None:
    value = getattr(thing, key)
    return value if value is None or isinstance(value, str) else value.path


def _is(thing: RequestEntry | Run, wanted: dict[str, str]) -> bool:
    return all(_value(thing, key) == value for key, value in wanted.items())


def _paired(runs: list[RunEntry], requests: list[RequestEntry]) -> Iterable[tuple[RunEntry, list[RequestEntry]]]:
    by_run: dict[str | None, list[RequestEntry]] = {}
    for request in requests:
        by_run.setdefault(request.execution_id, []).append(request)
    return ((entry, by_run.get(entry.run.execution_id, [])) for entry in runs)


def _run_counts(entry: RunEntry, requests: list[RequestEntry]) -> dict[str, Any]:
    run = entry.run
    return {
        "execution_id": run.execution_id,
        "flow": run.flow.path,
        "version": run.version,
        "trigger": run.trigger,
        "session_id": run.session_id,
        "message": run.message,
        "status": run.status,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "tool_iterations": run.tool_iterations,
        **_tally(requests, [entry]),
    }


def _grouped(key: str, requests: list[RequestEntry], runs: list[RunEntry]) -> dict[str, dict[str, Any]]:
    groups: dict[str, tuple[list[RequestEntry], list[RunEntry]]] = {}
    for request in requests:
        if (name := _value(request, key)) is not None:
            groups.setdefault(name, ([], []))[0].append(request)
    for entry in runs:
        if (name := _value(entry.run, key)) is not None:
            groups.setdefault(name, ([], []))[1].append(entry)
    return {
        name: {**_tally(*group), "execution_ids": [entry.run.execution_id for entry in group[1]]}
        for name, group in groups.items()
    }


def _tally(requests: list[RequestEntry], runs: list[RunEntry]) -> dict[str, Any]:
    steps: dict[str, dict[str, int]] = {}
    for entry in runs:
        for step_id, marks in entry.steps.items():
            row = steps.setdefault(step_id, {"started": 0, "resumed": 0, "completed": 0, "failed": 0})
            for mark, count in marks.items():
                row[mark] += count
    endpoints = Counter(request.endpoint for request in requests)
    return {
        "executions": sum(entry.executions for entry in runs),
        "requests": {name: endpoints.pop(name, 0) for name in CALLS},
        "reads": dict(endpoints),
        "request_times": [request.at for request in requests if request.endpoint in CALLS],
        "steps": steps,
    }
