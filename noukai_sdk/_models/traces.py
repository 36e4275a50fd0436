"""This room holds traces: what happened in a run, step by step (WIRE.md 5.3)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from noukai_sdk._models.events import TokenBreakdown
from noukai_sdk._models.lenient import Lenient


class RunSummary(Lenient):
    """A run as a whole. Times are ISO 8601 texts, `duration_ms` is in milliseconds."""

    id: str = ""
    flow_id: str = Field(default="", alias="flowId")
    status: str = ""
    trigger_type: str | None = Field(default=None, alias="triggerType")
    started_at: str | None = Field(default=None, alias="startedAt")
    completed_at: str | None = Field(default=None, alias="completedAt")
    duration_ms: int | float | None = Field(default=None, alias="durationMs")
    step_count: int | None = Field(default=None, alias="stepCount")


class StepTrace(Lenient):
    """One attempt at one step; `status` is "running", "completed", "failed" or "skipped".

    The contexts are None where payloads were not captured. `cost_usd` is a decimal text.
    """

    step_id: str = Field(default="", alias="stepId")
    attempt: int = 1
    loop_index: int | None = Field(default=None, alias="loopIndex")
    status: str = ""
    started_at: str | None = Field(default=None, alias="startedAt")
    completed_at: str | None = Field(default=None, alias="completedAt")
    duration_ms: int | float | None = Field(default=None, alias="durationMs")
    model_used: str | None = Field(default=None, alias="modelUsed")
    tokens: TokenBreakdown | None = None
    cost_usd: str | None = Field(default=None, alias="costUsd")
    input_context: dict[str, Any] | None = Field(default=None, alias="inputContext")
    output_context: dict[str, Any] | None = Field(default=None, alias="outputContext")
    error_context: dict[str, Any] | None = Field(default=None, alias="errorContext")
    input_size_bytes: int | None = Field(default=None, alias="inputSizeBytes")
    output_size_bytes: int | None = Field(default=None, alias="outputSizeBytes")
    truncated: bool = False


class Trace(Lenient):
    """A run and its steps."""

    flow_run: RunSummary = Field(alias="flowRun")
    steps: list[StepTrace]


class StepAttempts(Lenient):
    """All attempts at one step."""

    step_id: str = Field(default="", alias="stepId")
    attempts: list[StepTrace]
