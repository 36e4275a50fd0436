"""``POST …/step``: a stream of events, one step or all that remain, resumable at any step (WIRE.md 4)."""

from __future__ import annotations

from .answers import Refusal
from .calls import Call, StepCall
from .connection import while_connected
from .endpoints import Exchange, FlowEndpoint
from .events import EventStream
from .runs import Run
from .tools import ToolTurn
from .work import Completed, Failed, ToolPause, Work


class StepThrough(FlowEndpoint):
    """The endpoint."""

    name = "step"
    takes_draft = False

    def _read(self, body: bytes) -> StepCall:
        return StepCall.parse(body)

    async def _respond(self, exchange: Exchange, call: Call, run: Run | None) -> None:
        assert isinstance(call, StepCall)
        exchange.entry.step_index = call.step_index
        offer = self._offer(exchange, call)
        turn = None
        fresh = not call.execution_id
        if fresh:
            if call.step_index or call.tool_call_messages:
                raise Refusal(
                    400,
                    "INVALID_FIRST_CALL",
                    "A call without 'executionId' starts at 'stepIndex' 0, without tool results.",
                )
            run = self._new_run(exchange, call)
        else:
            run = _resumable(exchange, call, run)
            run.outputs.update(call.accumulated_outputs)
            if call.tool_call_messages:
                turn = ToolTurn.parse(call.tool_call_messages, run, run.steps[call.step_index].id)
        stream = EventStream(exchange.scope, exchange.send, exchange.manner)
        work = Work(
            run=run,
            offer=offer,
            turn=turn,
            sink=stream,
            ledger=self._service.ledger,
            now=self._service.now,
            input_overrides=call.input_overrides,
            block_overrides=call.block_overrides,
        )
        exchange.entry.status = 200
        await while_connected(exchange.receive, self._stream(stream, work, call, fresh=fresh))
        await stream.close()

    async def _stream(self, stream: EventStream, work: Work, call: StepCall, *, fresh: bool) -> None:
        run = work.run
        count = len(run.steps)
        await stream.open()
        if fresh:
            started = {"executionId": run.execution_id, "flowId": run.flow.flow_id, "stepCount": count}
            await stream.emit("run_started", started)
        for local, index in enumerate(range(call.step_index, count)):
            match await work.do_step(index, local=local):
                case Completed(output):
                    if index == count - 1:
                        run.finish("completed", output, self._service.now())
                        await stream.emit("flow_completed", {"executionId": run.execution_id, "result": output})
                    elif not call.run_remaining:
                        cursor = {"executionId": run.execution_id, "stepIndex": local, "nextStepIndex": index + 1}
                        await stream.emit("step_paused", cursor)
                        return
                case Failed(error):
                    run.finish("failed", error["message"], self._service.now())
                    return
                case ToolPause() as pause:
                    await stream.emit("step_paused_for_tool_calls", _tool_pause(run, index, pause))
                    return


def _tool_pause(run: Run, index: int, pause: ToolPause) -> dict[str, object]:
    return {
        "runId": run.execution_id,
        "executionId": run.execution_id,
        "stepId": run.steps[index].id,
        "stepIndex": index,
        "iterationsUsed": pause.iterations_used,
        "toolCallMessages": pause.messages,
        "toolCalls": pause.calls,
        "accumulatedOutputs": run.outputs,
    }


def _resumable(exchange: Exchange, call: StepCall, run: Run | None) -> Run:
    if run is None:
        raise Refusal(404, "RUN_NOT_FOUND", f"No run has the 'executionId' {call.execution_id!r}.")
    if run.flow.path != exchange.flow.path:
        raise Refusal(400, "EXECUTION_ID_INVALID", f"'executionId' names a run of another flow, {run.flow.path}.")
    if not 0 <= call.step_index < len(run.steps):
        raise Refusal(400, "INVALID_STEP_INDEX", f"'stepIndex' {call.step_index} is none of 0 to {len(run.steps) - 1}.")
    missing = [step.id for step in run.steps[: call.step_index] if step.id not in call.accumulated_outputs]
    if missing:
        raise Refusal(
            400,
            "INVALID_STEP_INDEX",
            f"'stepIndex' {call.step_index} needs 'accumulatedOutputs' of all steps before it; "
            f"{', '.join(missing)} missing.",
        )
    return run
