"""This room reads recorded sessions (WIRE.md 5.5): runs and their steps, as far as they are needed to play them back.

Nothing is required and nothing is refused; `raw` is the record as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_RENDERED_PROMPT = "__rendered_prompt__"
# Runs that had not come to an end when the session was read.
_UNFINISHED = frozenset({"pending", "queued", "started", "running", "paused", "tool_calls_required"})


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One attempt at one step."""

    raw: dict[str, Any]

    @property
    def step_id(self) -> Any:
        return self.raw.get("stepId")

    @property
    def output(self) -> Any:
        """The output as the live run gave it: without the prompt that the recording adds at the top."""
        output = self.raw.get("outputSnapshot")
        if isinstance(output, dict) and _RENDERED_PROMPT in output:
            return {key: value for key, value in output.items() if key != _RENDERED_PROMPT}
        return output

    @property
    def error(self) -> Any:
        return self.raw.get("errorSnapshot")

    @property
    def duration_ms(self) -> Any:
        return self.raw.get("durationMs")

    @property
    def failed(self) -> bool:
        return self.raw.get("status") == "failed"

    @property
    def truncated(self) -> bool:
        return self.raw.get("truncated") is True


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run of a flow, all its calls together. `slug` is bare: the record names neither org nor project."""

    raw: dict[str, Any]

    @property
    def execution_id(self) -> str:
        return str(self.raw.get("executionId") or "")

    @property
    def flow_id(self) -> str:
        return str(self.raw.get("flowId") or "")

    @property
    def slug(self) -> str | None:
        slug = self.raw.get("slug")
        return slug if isinstance(slug, str) else None

    @property
    def trigger(self) -> Any:
        """What started it: "execute", "step", "job"."""
        return self.raw.get("triggerType")

    @property
    def has_snapshots(self) -> bool:
        return self.raw.get("snapshotsAvailable") is not False

    @property
    def status(self) -> Any:
        return self.raw.get("status")

    @property
    def finished(self) -> bool:
        return self.status not in _UNFINISHED

    @property
    def failed(self) -> bool:
        return self.status == "failed" or self.raw.get("errorAtStep") is not None

    @property
    def steps(self) -> list[RecordedStep]:
        """What counted of each step, or of each round of a loop: its last attempt. Skipped ones are left out."""
        last: dict[tuple[str, str], RecordedStep] = {}
        for raw in objects(self.raw, "steps"):
            if raw.get("status") != "skipped":
                last[repr(raw.get("stepId")), repr(raw.get("loopIndex"))] = RecordedStep(raw)
        return list(last.values())

    @property
    def failed_step(self) -> RecordedStep:
        """The step that a failed run failed at; one without an error if the record does not say."""
        at = self.raw.get("errorAtStep")
        steps = [step for step in self.steps if step.failed] or [step for step in self.steps if step.step_id == at]
        return steps[-1] if steps else RecordedStep({"stepId": at, "status": "failed"})


def objects(record: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in the list `record[key]`, and nothing else that may be there."""
    items = record.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
