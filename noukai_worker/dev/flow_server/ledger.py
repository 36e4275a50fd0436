"""The ledger: what was asked of the server and what it did for it, so that a test can prove what was paid.

A step execution is *started* when the server begins it, *resumed* when its caller comes back with tool results, and
*completed* when the frame that says so has been written (``/step``) or its work is done (``/execute``).
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .manners import Endpoint
from .runs import Run

#: How many requests and runs are kept; ``forgotten`` in the counts tells of the rest.
KEPT_REQUESTS = 200_000
KEPT_RUNS = 50_000

Mark = Literal["started", "resumed", "completed", "failed"]


class Clock:
    """Epoch seconds that never run backwards."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return now."""
        return self._offset + time.monotonic()


@dataclass(slots=True)
class RequestEntry:
    """One request to ``/execute`` or ``/step``; ``at`` is when it arrived, ``status`` None until answered."""

    at: float
    endpoint: Endpoint
    flow: str
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
        self._runs: OrderedDict[str, RunEntry] = OrderedDict()
        self.reset()

    def reset(self) -> None:
        """Start counting from nothing. Runs in flight go on and appear again when something happens to them."""
        self._since = self._now()
        self._requests.clear()
        self._runs.clear()
        self._forgotten = 0
        self._failures: Counter[tuple[str, str]] = Counter()

    def request(self, endpoint: Endpoint, flow: str) -> RequestEntry:
        """Note a request that has just come in."""
        if len(self._requests) == self._requests.maxlen:
            self._forgotten += 1
        entry = RequestEntry(self._now(), endpoint, flow)
        self._requests.append(entry)
        return entry

    def execution(self, run: Run) -> None:
        """Note a fresh run."""
        self._entry(run).executions += 1

    def step(self, run: Run, step_id: str, mark: Mark) -> None:
        """Note what happened to a step."""
        self._entry(run).steps.setdefault(step_id, Counter())[mark] += 1
        if mark == "failed":
            self._failures[run.flow.path, step_id] += 1

    def failures(self, flow: str, step_id: str) -> int:
        """Return how often a step of a flow has failed."""
        return self._failures[flow, step_id]

    def counts(self, wanted: dict[str, str]) -> dict[str, Any]:
        """Return the ledger as JSON, narrowed to ``wanted`` (flow, session_id, message, execution_id)."""
        requests = [entry for entry in self._requests if _is(entry, wanted)]
        runs = [entry for entry in self._runs.values() if _is(entry.run, wanted)]
        return {
            "since": self._since,
            "forgotten": self._forgotten,
            "requests": [asdict(entry) for entry in requests],
            "runs": {
                entry.run.execution_id: _run_counts(entry, requests_of)
                for entry, requests_of in _paired(runs, requests)
            },
            "flows": _grouped("flow", requests, runs),
            "sessions": _grouped("session_id", requests, runs),
            "messages": _grouped("message", requests, runs),
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
        "requests": {"execute": endpoints["execute"], "step": endpoints["step"]},
        "request_times": [request.at for request in requests],
        "steps": steps,
    }
