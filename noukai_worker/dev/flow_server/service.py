"""The local Noukai's state, in one place, and the acts that touch several parts of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from .answers import Refusal
from .auth import Keys
from .chance import Chance
from .clock import Clock
from .credits import Credits
from .flows import Flow
from .gates import Gates
from .ledger import Ledger
from .live import Watchers
from .manners import Manners
from .options import Options, balances, projects
from .runs import Ended, Run, Runs
from .samples import SAMPLES
from .sessions import Sessions
from .step_events import failed

#: How versions read in a path: nothing is production, ``v0`` the draft.
PRODUCTION = "production"
_VERSION = re.compile(r"v(0|[1-9]\d{0,8})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything that outlives a request."""

    flows: Mapping[str, Flow]
    keys: Keys
    credits: Credits
    chance: Chance
    now: Clock
    ledger: Ledger
    manners: Manners = field(default_factory=Manners)
    gates: Gates = field(default_factory=Gates)
    runs: Runs = field(default_factory=Runs)
    sessions: Sessions = field(default_factory=Sessions)
    watchers: Watchers = field(default_factory=Watchers)

    @classmethod
    def open(cls, options: Options) -> Service:
        """Return a service at its start; raise `FlowServerError` for senseless options."""
        now = Clock()
        flows = {**SAMPLES, **(options.get("flows") or {})}
        balance_of, project_of = balances(options), projects(options)
        accepted = set(options.get("api_keys", ()))
        service = cls(
            flows=flows,
            keys=Keys(accepted and accepted.union(balance_of, project_of), project_of),
            credits=Credits(balance_of),
            chance=Chance(options.get("seed")),
            now=now,
            ledger=Ledger(now),
        )
        service.start_over()
        return service

    def start_over(self) -> None:
        """Be as at the start. Only the runs so far stay known: those under way go on, and nobody asks for others by chance."""
        self.ledger.reset()
        self.gates.close_all()
        self.credits.restore()
        self.manners.clear()
        for flow in self.flows.values():
            for order in flow.orders:
                self.manners.add(order.model_copy(update={"flow": flow.path}))

    def flow(self, path: str, version: str | None, *, draft: bool) -> tuple[Flow, str]:
        """Return the flow at ``path`` and the name of its version; raise `Refusal` if either does not exist."""
        flow = self.flows.get(path)
        if flow is None:
            raise Refusal(
                404, "FLOW_NOT_FOUND", f"There is no flow {path!r} here; there are: {', '.join(sorted(self.flows))}."
            )
        if version is None:
            return flow, PRODUCTION
        match = _VERSION.fullmatch(version)
        if match is None or int(match[1]) > flow.versions:
            raise Refusal(
                400,
                "INVALID_VERSION",
                f"{path} has the draft v0 and the versions v1 to v{flow.versions}, not {version!r}.",
            )
        if version == "v0" and not draft:
            raise Refusal(
                400, "INVALID_VERSION", "The draft (v0) cannot be stepped through; publish it or use execute."
            )
        return flow, version

    def begin(self, run: Run) -> None:
        """Take up a fresh run; raise `Refusal` 402 if its key cannot pay."""
        self.credits.before_run(run.key)
        if forgotten := self.runs.add(run):
            self.sessions.forget(forgotten)
        self.sessions.add(run)
        self.ledger.execution(run)

    def abandon_step(self, run: Run) -> None:
        """The caller left in the middle of a step of ``run``; the run's watchers are told."""
        for record in run.abandon_step(self.now()):
            if record.loop_index is None:
                step = next(step for step in run.steps if step.id == record.step_id)
                self.watchers.tell(run, failed(step, record.error))

    def finish(self, run: Run, status: Ended, result: JsonValue) -> None:
        """End a run; its watchers are told."""
        run.finish(status, result, self.now())
        self.watchers.tell(run, None)
