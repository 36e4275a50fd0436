"""``POST …/step``: a stream of events, one step or all that remain, resumable at any step (WIRE.md 4).

What a caller may send again when its connection broke:

* **A step** can always be begun again from a checkpoint (``executionId``, ``stepIndex``, ``accumulatedOutputs``), with or
  without a tool pause in it; tool calls that were pending are void then, and the step asks anew.
* **The answer to a tool pause** counts as given once the response to it has been written to its end. If the
  connection breaks before, the same messages are taken again, and the step goes on from them. After that they are
  refused (PAUSED_STEP_INVALID, or TOOL_RESULTS_MISMATCH if the step waits for the results of a later round).

A caller that is refused because a response was written but lost on the way has the first way left.
"""

from __future__ import annotations

from .answers import Refusal
from .calls import Call, StepCall
from .connection import CallerGone, HangUp, while_connected
from .course import walk
from .endpoints import CallEndpoint, Exchange, Place
from .events import EventStream
from .live import Watched
from .runs import Run
from .tools import ToolTurn
from .work import Work


class StepThrough(CallEndpoint):
    """The endpoint."""

    name = "step"
    trigger = "step"
    takes_draft = False

    def _read(self, body: bytes) -> StepCall:
        return StepCall.parse(body)

    async def _respond(self, exchange: Exchange, place: Place, call: Call, run: Run | None) -> None:
        assert isinstance(call, StepCall)
        exchange.entry.step_index = call.step_index
        offer = self._offer(place.flow, call)
        turn = None
        fresh = not call.execution_id
        if fresh:
            if call.step_index or call.tool_call_messages:
                raise Refusal(
                    400,
                    "INVALID_FIRST_CALL",
                    "A call without 'executionId' starts at 'stepIndex' 0, without tool results.",
                )
            run = self._new_run(exchange, place, call)
        else:
            run = _resumable(place, call, run)
            if call.tool_call_messages:
                turn = ToolTurn.parse(call.tool_call_messages, run, run.steps[call.step_index].id)
        stream = EventStream(exchange.request.scope, exchange.send, exchange.manner)
        work = Work(
            service=self._service,
            run=run,
            payer=exchange.key,
            offer=offer,
            turn=turn,
            sink=Watched(run, stream, self._service.watchers),
            input_overrides=call.input_overrides,
            block_overrides=call.block_overrides,
        )
        if not fresh:
            work.take_up(call.step_index, call.accumulated_outputs)
        exchange.entry.status = 200
        try:
            await while_connected(exchange.receive, self._stream(stream, work, call, fresh=fresh))
            await stream.close()
        except (CallerGone, HangUp):
            if run.status == "running":
                self._service.abandon_step(run)
            if turn:
                run.pauses.append(turn.pause)
            raise

    @staticmethod
    async def _stream(stream: EventStream, work: Work, call: StepCall, *, fresh: bool) -> None:
        await stream.open()
        await walk(work, call.step_index, fresh=fresh, one_step=not call.run_remaining)


def _resumable(place: Place, call: StepCall, run: Run | None) -> Run:
    if run is None:
        raise Refusal(404, "RUN_NOT_FOUND", f"No run has the 'executionId' {call.execution_id!r}.")
    if run.flow.path != place.flow.path:
        raise Refusal(400, "EXECUTION_ID_INVALID", f"'executionId' names a run of another flow, {run.flow.path}.")
    if run.trigger == "job":
        raise Refusal(400, "EXECUTION_ID_INVALID", "'executionId' names a job, which goes on by itself.")
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
