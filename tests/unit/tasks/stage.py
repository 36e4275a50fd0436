"""A run at a scripted service: its attempts are made one by one, its workers are lost, and it is redriven."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from noukai_sdk.testing import Exchange, ScriptedTransport
from noukai_worker.runs import Mode, RunRequest, RunStore, keys, operations, outcome, scripts
from noukai_worker.runs.answers import Claimed, Unsent
from noukai_worker.runs.operations import Operation
from noukai_worker.stream import HeldRun
from noukai_worker.stream.writer import Writer
from noukai_worker.tasks import attempt, clients, job
from noukai_worker.tasks.call import PaidCall
from noukai_worker.tasks.execute import execute_flow
from noukai_worker.tasks.leases import HeldCall


def session(*statuses: str) -> Exchange:
    steps = [{"stepId": "s1", "status": "completed", "outputSnapshot": "found"}]
    return Exchange.json(
        {
            "sessionId": "s",
            "executions": [
                {"executionId": f"e{n}", "status": status, "steps": steps} for n, status in enumerate(statuses)
            ],
        }
    )


class Stage:
    """A run, and attempts at it whose worker asks a script."""

    def __init__(self, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, mode: Mode = "execute") -> None:
        self.client, self.store, self.mode = client, RunStore("redis://unused", client=client), mode
        self._monkeypatch = monkeypatch
        self.script = ScriptedTransport([])
        self.opening: Callable[[], object] = lambda: None
        """Happens when an attempt at a job takes its client."""
        self.lease = 10.0

    def enqueue(self, **fields: Any) -> None:
        request = RunRequest.build(flow="acme/demo/x", mode=self.mode, message="m", **fields)
        limits = {"retention": 60, "pickup": 10, "max_attempts": 8, "max_age": 100, "max_entries": 100}
        self.store.perform(operations.create("r", request, token="t", **limits))  # type: ignore[arg-type]

    def claim(self, *exchanges: Exchange) -> Claimed:
        """The next attempt begins; the service's answers to it are these."""
        self.script = ScriptedTransport(exchanges)
        claim = operations.claim("r", claim_id=os.urandom(4).hex(), lease=10, worker="w")
        claimed = self.store.perform(claim)
        assert isinstance(claimed, Claimed), claimed
        return claimed

    def take(self, *exchanges: Exchange) -> tuple[PaidCall, HeldCall]:
        """The next attempt at an execute run."""
        claimed = self.claim(*exchanges)
        self._monkeypatch.setitem(clients._clients, (os.getpid(), "default"), self.script.client())
        return PaidCall(execute_flow, claimed), HeldCall(self.store, claimed.lease, extend=10, on_loss=print)

    def attempt(self, *exchanges: Exchange) -> outcome.Outcome:
        """The next attempt, to its end."""
        if self.mode == "job":
            end = asyncio.run(self._follow(self.claim(*exchanges)))
        else:
            call, held = self.take(*exchanges)
            end = outcome.readable(call.make(held))
            held.close(end, pickup=10)
        self.script.assert_done()
        return end

    async def _follow(self, claimed: Claimed) -> outcome.Outcome:
        client = self.script.async_client()
        engine: Any = SimpleNamespace(client=lambda _: (self.opening(), client)[1])
        run = HeldRun(Writer(_Trips(self.client)), claimed.lease, extend=self.lease, pickup=10, order=OrderedDict())  # type: ignore[arg-type]
        async with client:
            return await attempt._work(job.job_flow, engine, claimed, run, partial(job._follow, job.job_flow))

    def lose_worker(self) -> None:
        """The lease of the attempt that was taken runs out, or its retry is due, and a sweeper comes by."""
        while not isinstance(self.store.perform(operations.overdue("r", pickup=10, lease=10)), Unsent):
            self.client.hset(self.key, "deadline", 1)

    def redrive(self) -> None:
        self.store.perform(operations.redrive("r", pickup=10))

    @property
    def key(self) -> str:
        return keys.run("r")

    @property
    def paths(self) -> list[str]:
        return [request.url.path for request in self.script.requests]


def code(end: outcome.Outcome) -> str:
    assert isinstance(end, outcome.Failed | outcome.Retrying), end
    return end.failure.code


class _Trips:
    """The async store's one method, on a sync client."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    async def perform_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        return [
            self._client.eval(scripts.load(one.script).text, len(one.keys), *one.keys, *one.args) for one in operations
        ]
