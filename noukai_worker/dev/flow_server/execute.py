"""``POST …/execute``: run to the end, or until tools are needed; also the way back with tool results (WIRE.md 3)."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from .answers import JsonAnswer, Refusal
from .calls import Call, ExecuteCall, JsonObject
from .connection import HangUp, while_connected
from .endpoints import Exchange, FlowEndpoint
from .events import Silence
from .runs import Run
from .tools import ToolTurn
from .work import Completed, Failed, ToolPause, Work


@dataclass(slots=True)
class _Ending:
    body: JsonObject | None = None


class Execute(FlowEndpoint):
    """The endpoint."""

    name = "execute"
    takes_draft = True

    def _read(self, body: bytes) -> ExecuteCall:
        return ExecuteCall.parse(body)

    async def _respond(self, exchange: Exchange, call: Call, run: Run | None) -> None:
        assert isinstance(call, ExecuteCall)
        offer = self._offer(exchange, call)
        turn, position = None, 0
        if call.is_resume:
            run, turn, position = _resumption(exchange, call, run)
            run.outputs.update(call.accumulated_outputs)
        else:
            run = self._new_run(exchange, call)
        work = Work(
            run=run,
            offer=offer,
            turn=turn,
            sink=Silence(),
            ledger=self._service.ledger,
            now=self._service.now,
            block_overrides=call.block_overrides,
        )
        ending = _Ending()
        manner = exchange.manner
        if manner and manner.outlive_client:
            await self._to_the_end(work, position, ending)
        else:
            await while_connected(exchange.receive, self._to_the_end(work, position, ending))
        if manner and manner.cut_after_work:
            raise HangUp
        await exchange.answer(JsonAnswer(ending.body))

    async def _to_the_end(self, work: Work, position: int, ending: _Ending) -> None:
        run = work.run
        last: JsonValue = None
        for local, index in enumerate(range(position, len(run.steps))):
            match await work.do_step(index, local=local):
                case Completed(output):
                    last = output
                case Failed(error):
                    run.finish("failed", error["message"], self._service.now())
                    ending.body = _outcome(run) | {"status": "failed", "result": run.result}
                    return
                case ToolPause() as pause:
                    ending.body = _outcome(run) | {
                        "status": "tool_calls_required",
                        "pausedAtStep": run.steps[index].id,
                        "iterationsUsed": pause.iterations_used,
                        "toolCallMessages": [*pause.messages],
                        "toolCalls": [*pause.calls],
                        "accumulatedOutputs": dict(run.outputs),
                    }
                    return
        run.finish("completed", last, self._service.now())
        ending.body = _outcome(run) | {"status": "completed", "result": last}


def _resumption(exchange: Exchange, call: ExecuteCall, run: Run | None) -> tuple[Run, ToolTurn, int]:
    if run is None or run.flow.path != exchange.flow.path:
        raise Refusal(
            400, "EXECUTION_ID_INVALID", f"'executionId' {call.execution_id!r} names no run of {exchange.flow.path}."
        )
    position = run.step_position(call.paused_at_step)
    if position is None or all(step_id != call.paused_at_step for step_id, _ in run.tool_calls.values()):
        raise Refusal(400, "PAUSED_STEP_INVALID", f"The run did not pause at 'pausedAtStep' {call.paused_at_step!r}.")
    return run, ToolTurn.parse(call.tool_call_messages, run, call.paused_at_step), position


def _outcome(run: Run) -> JsonObject:
    return {"flowId": run.flow.flow_id, "blockCount": len(run.steps), "executionId": run.execution_id}
