"""The course of one call through its run: step after step, until the flow ends or the caller must come back."""

from __future__ import annotations

from .step_events import flow_completed, run_started
from .work import Completed, Failed, Outcome, ToolPause, Work


async def walk(work: Work, start: int, *, fresh: bool, one_step: bool = False) -> Outcome:
    """Do the steps from position ``start`` on, or ``one_step``; return how the last of them came out."""
    run, service, sink = work.run, work.service, work.sink
    if fresh:
        await sink.emit(*run_started(run))
    last = len(run.steps) - 1
    for local, position in enumerate(range(start, last + 1)):
        refusal = work.refusal(position) if local else None
        doing = work.bar(position, refusal, local=local) if refusal else work.do_step(position, local=local)
        outcome = await doing
        match outcome:
            case Completed(output) if position == last:
                service.finish(run, "completed", output)
                await sink.emit(*flow_completed(run))
            case Completed() if one_step:
                cursor = {"executionId": run.execution_id, "stepIndex": local, "nextStepIndex": position + 1}
                await sink.emit("step_paused", cursor)
                break
            case Failed(error):
                service.finish(run, "failed", error["message"])
                break
            case ToolPause() as pause:
                await sink.emit("step_paused_for_tool_calls", _for_tools(work, position, pause))
                break
    return outcome


def _for_tools(work: Work, position: int, pause: ToolPause) -> dict[str, object]:
    run = work.run
    return {
        "runId": run.execution_id,
        "executionId": run.execution_id,
        "stepId": run.steps[position].id,
        "stepIndex": position,
        "iterationsUsed": pause.iterations_used,
        "toolCallMessages": pause.messages,
        "toolCalls": pause.calls,
        "accumulatedOutputs": run.outputs,
    }
