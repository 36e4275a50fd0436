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
from ..stream import LeaseLost
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
        self._asking = False
        """What is being done costs nothing."""
        self._settled = not claimed.unsettled
        """No call before the one that is being made may have been carried out without our knowing."""

    def stop(self) -> None:
        """End it, from another thread: the connection is closed, and `make` raises."""
        self._stopped.set()
        self._interruption.interrupt()

    def make(self, held: HeldCall) -> outcome.Outcome:
        """How the attempt ends. Raises LeaseLost, Stopped."""
        try:
            return self._find_out() or self._rounds(held)
        except LeaseLost:
            raise
        except noukai_sdk.CallInterruptedError as interrupted:
            if held.lost:
                raise held.lost from None
            raise Stopped(settled=self._settled and not interrupted.sent) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the attempt, and the log says so
            return self._task.judge(error, self._claimed, repeatable=self._asking, settled=self._settled)

    def _find_out(self) -> outcome.Outcome | None:
        """What became of the call of an earlier attempt; None if one is to be made."""
        if self._settled:
            return None
        self._asking = True
        reply = self._claimed.reply
        # A pause that was not answered is where the flow stands: nothing was sent since.
        unanswered = reply is not None and reply.results is None
        finding = Waiting() if unanswered else self._inquire()
        end = conclude(finding, self._task, self._claimed)
        self._asking = False
        # It may be that the answer has arrived, and the session does not say so yet.
        self._settled = unanswered or not isinstance(finding, Waiting)
        return end

    def _rounds(self, held: HeldCall) -> outcome.Outcome:
        settings = current()
        reply, answered = self._claimed.reply, 0
        while True:
            if reply and reply.results is None:
                calls = reply.continuation["tool_calls"]
                if not tools.known(calls):
                    return outcome.Paused(reply.continuation, settings.pause_limit)
                held.append(outcome.Progress(reply=reply))  # if this worker is lost, the next one answers
                if answered == settings.tool_rounds:
                    return outcome.Failed(outcome.too_many_rounds(settings.tool_rounds), settled=False)
                reply, answered = Reply(reply.continuation, self._answer(calls)), answered + 1
                held.append(outcome.answered(reply))
            held.confirm()  # a worker that was frozen must not pay for what another one has taken up
            with self._interruption.covers():
                result = self._execute() if reply is None else self._resume(reply)
            self._settled = True
            if not isinstance(result, noukai_sdk.PausedResult):
                return _ended(result)
            reply = Reply(_waiting_for(result))

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
        return self._flow().resume(paused, tool_results=reply.results or (), timeout=request.timeout)

    def _answer(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        run_id, metadata = self._claimed.lease.run_id, self._request.metadata or {}
        return pool.run(tools.answer(calls, run_id=run_id, metadata=metadata, limit=current().tool_timeout))

    def _inquire(self) -> Finding:
        inquiry = inquire(self._claimed, time.monotonic(), patience=self._request.max_age or current().max_age)
        try:
            pause = next(inquiry)
            session = client(current(), self._request.credential).session(session_of(self._claimed))
            while True:
                self._stopped.wait(pause)
                try:
                    with self._interruption.covers():
                        answer: Any = session.read().executions
                except noukai_sdk.CallInterruptedError:
                    raise
                except noukai_sdk.NoukaiError as error:
                    answer = error
                pause = inquiry.send((answer, time.monotonic()))
        except StopIteration as stop:
            finding: Finding = stop.value
            return finding

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
