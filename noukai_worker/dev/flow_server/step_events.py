"""How a step's life reads as events (WIRE.md 4.3): for the caller as it happens, for a watcher who comes later too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .clock import milliseconds
from .flows import Step
from .runs import Run, StepRecord

Event = tuple[str, dict[str, Any]]


def started(step: Step, position: int) -> Event:
    """The step begins; ``position`` is told as ``stepIndex``."""
    return "step_started", _named(step) | {"stepIndex": position}


def prompted(record: StepRecord) -> Event:
    """The prompt is known."""
    return "step_input", {"stepId": record.step_id, "inputData": {"prompt": record.input}}


def piece(step_id: str, data: object) -> Event:
    """A part of the output."""
    return "step_output", {"stepId": step_id, "outputData": data}


def lap_done(step: Step, lap: StepRecord) -> Event:
    """One lap of a loop is done."""
    return "step_progress", _named(step) | {"loopIndex": lap.loop_index, "loopCount": step.loop, "output": lap.output}


def loop_done(step: Step) -> Event:
    """All laps are done."""
    return "loop_completed", _named(step) | {"loopCount": step.loop}


def completed(step: Step, record: StepRecord, position: int) -> Event:
    """The step is done."""
    tokens = record.tokens
    return "step_completed", _named(step) | {
        "stepIndex": position,
        "output": record.output,
        "durationMs": milliseconds(record.started_at, record.completed_at),
        "tokens": tokens and tokens.figures,
        "costUsd": record.cost_usd,
    }


def failed(step: Step, error: object) -> Event:
    """The step failed."""
    return "step_error", _named(step) | {"error": error}


def run_started(run: Run) -> Event:
    """A fresh run."""
    return "run_started", {"executionId": run.execution_id, "flowId": run.flow.flow_id, "stepCount": len(run.steps)}


def flow_completed(run: Run) -> Event:
    """All steps are done."""
    return "flow_completed", {"executionId": run.execution_id, "result": run.result}


def history(run: Run) -> Iterator[Event]:
    """What has happened to ``run`` so far, without the pieces of outputs and without its end."""
    yield run_started(run)
    for record in run.records:
        position = run.step_position(record.step_id)
        if record.loop_index is not None or position is None:
            continue
        step = run.steps[position]
        yield started(step, position)
        if record.input_shown:
            yield prompted(record)
        for lap in run.laps(record) if step.loop else ():
            if lap.input_shown:
                yield prompted(lap)
            if lap.status == "completed":
                yield lap_done(step, lap)
        if record.status == "failed":
            yield failed(step, record.error)
        elif record.status == "completed":
            if step.loop:
                yield loop_done(step)
            yield completed(step, record, position)


def _named(step: Step) -> dict[str, Any]:
    return {"stepId": step.id, "name": step.name or step.id}
