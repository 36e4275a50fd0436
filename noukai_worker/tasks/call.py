"""One blocking, paid call: made once, or found out about; its pauses are answered here if there are functions for them."""

from __future__ import annotations

import threading
import time
from typing import Any

import noukai_sdk

from .. import pool, tools
from ..runs import Failure, Reply, outcome
from ..runs.answers import Claimed
from ..settings import current
from .base import FlowTask
from .clients import client
from .leases import HeldCall
from .reconcile import Finding, Waiting, conclude, inquire, session_of


class Stopped(Exception):
    """The call was ended from outside. Not `settled`: it may have been carried out."""

    def __init__(self, *, settled: bool) -> None:
        super().__init__()
        self.settled = settled


class PaidCall:
    """What one attempt at an execute run does."""

    def __init__(self, task: FlowTask, claimed: Claimed) -> None:
        self._task, self._claimed, self._request = task, claimed, claimed.request
        self._interruption = noukai_sdk.Interruption()
        self._stopped = threading.Event()
        self._settled = not claimed.unsettled
        """No earlier call may have been carried out without our knowing."""

    def stop(self) -> None:
        """End it, from another thread: the connection is closed, and `make` raises."""
        self._stopped.set()
        self._interruption.interrupt()

    def make(self, held: HeldCall) -> outcome.Outcome:
        """How the attempt ends. Raises LeaseLost, Stopped."""
        try:
            with self._interruption.covers():
                return self._make(held)
        except noukai_sdk.CallInterruptedError as interrupted:
            if held.lost:
                raise held.lost from None
            raise Stopped(settled=self._settled and not interrupted.sent) from None

    def _make(self, held: HeldCall) -> outcome.Outcome:
        reply = self._claimed.reply
        if self._claimed.unsettled:
            try:
                finding = self._find_out()
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the attempt, and the log says so
                return self._judge(error, repeatable=True)
            if not (reply and isinstance(finding, Waiting)):  # then it was the answer to this pause that did not arrive
                end = conclude(finding, self._task, self._claimed)
                if end is not None:
                    return end
            self._settled = True
        return self._rounds(held, reply)

    def _rounds(self, held: HeldCall, reply: Reply | None) -> outcome.Outcome:
        settings = current()
        for _ in range(settings.tool_rounds + 1):
            held.confirm()  # a worker that was frozen must not pay for what another one has taken up
            try:
                result = self._execute() if reply is None else self._resume(reply)
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends the attempt, and the log says so
                return self._judge(error, repeatable=False)
            self._settled = True
            if not isinstance(result, noukai_sdk.PausedResult):
                return _ended(result)
            waiting = _waiting_for(result)
            if not tools.known(result.tool_calls):
                return outcome.Paused(waiting, settings.pause_limit)
            reply = Reply(waiting, self._answer(result))
            held.append(outcome.answered(reply))
        return outcome.Failed(outcome.too_many_rounds(settings.tool_rounds))

    def _execute(self) -> Any:
        given = self._request.flow_input() | {"session_id": session_of(self._claimed)}
        return self._flow().execute(self._request.message, messages=self._request.messages, **given)

    def _resume(self, reply: Reply) -> Any:
        request, waited = self._request, reply.continuation
        origin = request.flow_input() | {"flow": request.flow, "session_id": session_of(self._claimed)}
        del origin["timeout"]
        paused = noukai_sdk.PausedResult.model_validate(
            {
                "executionId": waited["execution_id"],
                "pausedAtStep": waited["step_id"],
                "iterationsUsed": waited["iterations_used"],
                "toolCallMessages": waited["tool_call_messages"],
                "toolCalls": waited["tool_calls"],
                "accumulatedOutputs": waited.get("accumulated_outputs") or {},
                "origin": {name: value for name, value in origin.items() if value is not None},
            }
        )
        return self._flow().resume(paused, tool_results=reply.results, timeout=request.timeout)

    def _answer(self, paused: noukai_sdk.PausedResult) -> list[dict[str, Any]]:
        return pool.run(
            tools.answer(
                paused.tool_calls,
                run_id=self._claimed.lease.run_id,
                metadata=self._request.metadata or {},
                limit=current().tool_timeout,
            )
        )

    def _find_out(self) -> Finding:
        session = client(current(), self._request.credential).session(session_of(self._claimed))
        inquiry = inquire(self._claimed, time.monotonic(), patience=current().max_age)
        try:
            pause = next(inquiry)
            while True:
                self._stopped.wait(pause)
                try:
                    answer: Any = session.read().executions
                except noukai_sdk.CallInterruptedError:
                    raise
                except noukai_sdk.NoukaiError as error:
                    answer = error
                pause = inquiry.send((answer, time.monotonic()))
        except StopIteration as stop:
            finding: Finding = stop.value
            return finding

    def _judge(self, error: Exception, *, repeatable: bool) -> outcome.Outcome:
        if isinstance(error, noukai_sdk.CallInterruptedError):
            raise error
        return self._task.judge(error, self._claimed, repeatable=repeatable, settled=self._settled)

    def _flow(self) -> noukai_sdk.Flow:
        return client(current(), self._request.credential).flow(self._request.flow)


def _ended(result: noukai_sdk.ExecuteResult) -> outcome.Outcome:
    if result.status != "completed":
        return outcome.Failed(Failure("FLOW_FAILED", str(result.result)))
    return outcome.Completed(result.result, result.execution_id)


def _waiting_for(paused: noukai_sdk.PausedResult) -> dict[str, Any]:
    waiting = outcome.waiting_for(
        step_id=paused.paused_at_step,
        execution_id=paused.execution_id,
        tool_calls=paused.tool_calls,
        tool_call_messages=paused.tool_call_messages,
        iterations_used=paused.iterations_used,
    )
    return waiting | {"accumulated_outputs": paused.accumulated_outputs}
