"""The local Noukai's state, in one place: keys, flows, runs, ledger, manners, clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .answers import Refusal
from .auth import Keys
from .flows import Flow
from .ledger import Clock, Ledger
from .manners import Manners
from .runs import Runs

#: How versions read in a path: nothing is production, ``v0`` the draft.
PRODUCTION = "production"
_VERSION = re.compile(r"v(0|[1-9]\d{0,8})")


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that outlives a request."""

    keys: Keys
    flows: Mapping[str, Flow]
    runs: Runs
    ledger: Ledger
    manners: Manners
    now: Clock

    @classmethod
    def open(cls, keys: Keys, flows: Iterable[Flow]) -> Service:
        """Return a service that offers ``flows`` and has heard their standing orders."""
        now = Clock()
        service = cls(keys, {flow.path: flow for flow in flows}, Runs(), Ledger(now), Manners(), now)
        for flow in service.flows.values():
            for order in flow.orders:
                service.manners.add(order.model_copy(update={"flow": flow.path}))
        return service

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
