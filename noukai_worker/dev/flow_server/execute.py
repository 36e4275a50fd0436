"""``POST …/execute``: run to the end, or until tools are needed; also the way back with tool results (WIRE.md 3).

A pause is answered once, whatever becomes of the answer: a resume whose connection breaks has used the tool results
up, since steps may have been paid for that its caller knows nothing of. The run's trace or session tells.

A caller who hangs up does not stop the work: it is done to its end, and counted, as it is by the service. The session
shows it. Flows may be told to stop (``outlives_caller = false``); their run has failed then.
"""

from __future__ import annotations

import asyncio
import logging

from pydantic import JsonValue

from .answers import JsonAnswer, Refusal
from .background import Background
from .calls import Call, ExecuteCall
from .connection import CallerGone, HangUp, while_connected
from .course import walk
from .endpoints import CallEndpoint, Exchange, Place
from .events import Silence
from .live import Watched
from .runs import Run
from .service import Service
from .tools import ToolTurn
from .work import Completed, Failed, Outcome, ToolPause, Work

log = logging.getLogger(__name__)


class Execute(CallEndpoint):
    """The endpoint."""

    name = "execute"
    trigger = "execute"

    def __init__(self, service: Service, background: Background) -> None:
        super().__init__(service)
        self._background = background

    def _read(self, body: bytes) -> ExecuteCall:
        return ExecuteCall.parse(body)

    async def _respond(self, exchange: Exchange, place: Place, call: Call, run: Run | None) -> None:
        assert isinstance(call, ExecuteCall)
        offer = self._offer(place.flow, call)
        turn, position = None, 0
        if call.is_resume:
            run, turn, position = _resumption(place, call, run)
        else:
            run = self._new_run(exchange, place, call)
        work = Work(
            service=self._service,
            run=run,
            payer=exchange.key,
            offer=offer,
            turn=turn,
            sink=Watched(run, Silence(), self._service.watchers),
            block_overrides=call.block_overrides,
        )
        if turn:
            work.take_up(position, call.accumulated_outputs)
        outcome = await self._outcome(exchange, work, position)
        if exchange.manner and exchange.manner.cut_after_work:
            raise HangUp
        await exchange.answer(JsonAnswer(_body(run, outcome)))

    async def _outcome(self, exchange: Exchange, work: Work, position: int) -> Outcome:
        course = self._course(work, position)
        if work.run.flow.outlives_caller or (exchange.manner and exchange.manner.outlive_client):
            outcome = await while_connected(exchange.receive, _end_of(self._background.start(course)))
        else:
            try:
                outcome = await while_connected(exchange.receive, course)
            except CallerGone:
                # Nobody can come back to it.
                self._service.abandon_step(work.run)
                self._service.finish(work.run, "failed", "The caller left before the run was done.")
                raise
        if isinstance(outcome, Failed) and outcome.refusal:
            raise outcome.refusal
        return outcome

    async def _course(self, work: Work, position: int) -> Outcome:
        try:
            return await walk(work, position, fresh=work.turn is None)
        except Exception:
            log.exception("the execution %s crashed", work.run.execution_id)
            self._service.finish(work.run, "failed", "The flow server has a bug; its log has the traceback.")
            raise


async def _end_of(work: asyncio.Task[Outcome]) -> Outcome:
    return await asyncio.shield(work)


def _resumption(place: Place, call: ExecuteCall, run: Run | None) -> tuple[Run, ToolTurn, int]:
    path = place.flow.path
    if run is None or run.flow.path != path:
        raise Refusal(400, "EXECUTION_ID_INVALID", f"'executionId' {call.execution_id!r} names no run of {path}.")
    turn = ToolTurn.parse(call.tool_call_messages, run, call.paused_at_step)
    position = run.step_position(call.paused_at_step)
    assert position is not None, "it paused there"
    return run, turn, position


def _body(run: Run, outcome: Outcome) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {
        "flowId": run.flow.flow_id,
        "blockCount": len(run.steps),
        "executionId": run.execution_id,
    }
    match outcome:
        case Completed(output):
            return body | {"status": "completed", "result": output}
        case Failed():
            return body | {"status": "failed", "result": run.result}
        case ToolPause() as pause:
            return body | {
                "status": "tool_calls_required",
                "pausedAtStep": pause.step_id,
                "iterationsUsed": pause.iterations_used,
                "toolCallMessages": [*pause.messages],
                "toolCalls": [*pause.calls],
                "accumulatedOutputs": dict(run.outputs),
            }
