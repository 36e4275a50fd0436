"""This room reads recorded sessions (WIRE.md 5.5): runs and their steps, to be looked into or played back.

Nothing is required and nothing is refused; `raw` is the record as it came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noukai_sdk._errors import ResultNotRecordedError
from noukai_sdk._models.causes import code_and_message
from noukai_sdk._models.results import ExecuteResult

_RENDERED_PROMPT = "__rendered_prompt__"
# Runs that had not come to an end when the session was read.
_UNFINISHED = frozenset({"pending", "queued", "started", "running", "paused", "tool_calls_required"})


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One attempt at one step. `output` and `error` are None where the record has none (or they are not kept)."""

    raw: dict[str, Any]

    @property
    def step_id(self) -> Any:
        return self.raw.get("stepId")

    @property
    def status(self) -> Any:
        """ "running", "completed", "failed", or another word of the service."""
        return self.raw.get("status")

    @property
    def output(self) -> Any:
        """The output as the live run gave it: without the prompt that the recording adds at the top."""
        output = self.raw.get("outputSnapshot")
        if isinstance(output, dict) and _RENDERED_PROMPT in output:
            return {key: value for key, value in output.items() if key != _RENDERED_PROMPT}
        return output

    @property
    def error(self) -> Any:
        """Usually an object with `code` and `message`."""
        return self.raw.get("errorSnapshot")

    @property
    def duration_ms(self) -> Any:
        return self.raw.get("durationMs")

    @property
    def failed(self) -> bool:
        return self.raw.get("status") == "failed"

    @property
    def truncated(self) -> bool:
        """Whether the record holds its values only in part."""
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
        return _text(self.raw, "slug")

    @property
    def trigger(self) -> str | None:
        """What started it: "execute", "step", "job"."""
        return _text(self.raw, "triggerType")

    @property
    def has_snapshots(self) -> bool:
        """Whether outputs and errors were kept."""
        return self.raw.get("snapshotsAvailable") is not False

    @property
    def status(self) -> str | None:
        """ "pending", "running", "paused", "completed", "failed", or another word of the service; None if it says nothing."""
        return _text(self.raw, "status")

    @property
    def started_at(self) -> str | None:
        """An ISO 8601 text; None if the record does not say."""
        return _text(self.raw, "startedAt")

    @property
    def completed_at(self) -> str | None:
        """An ISO 8601 text; None if it goes on, or the record does not say."""
        return _text(self.raw, "completedAt")

    @property
    def finished(self) -> bool:
        """Whether it had ended, well or not, when the record was read."""
        return self.failed or (self.status is not None and self.status not in _UNFINISHED)

    @property
    def failed(self) -> bool:
        return self.status == "failed" or self.raw.get("errorAtStep") is not None

    @property
    def error(self) -> Any:
        """Why it failed, usually an object with `code` and `message`; None if it did not, or the record does not say."""
        return self.failed_step.error if self.failed else None

    def result(self) -> ExecuteResult:
        """What `execute` returned for this run, or would have: also of a run that was stepped through or queued.

        A run that failed is a result, as ever (`raise_for_status()`). Raises ResultNotRecordedError if the record does
        not tell; its `code` says why: RUN_NOT_FINISHED, NO_SNAPSHOTS, OUTPUT_TRUNCATED, NO_OUTPUT.
        """
        if not self.finished:
            raise self._not_recorded(
                "RUN_NOT_FINISHED", f"it had not ended (status {self.status!r}); read it again later"
            )
        if self.failed or self.status != "completed":
            _, message = code_and_message(self.error)
            status = "failed" if self.failed else str(self.status)
            return ExecuteResult.model_validate(
                {**self.completed_body(), "status": status, "result": message or self.error}
            )
        if not self.has_snapshots:
            raise self._not_recorded("NO_SNAPSHOTS", "it was recorded without its outputs")
        last = self.steps[-1] if self.steps else RecordedStep({})
        if "outputSnapshot" not in last.raw or last.raw.get("loopIndex") is not None:
            raise self._not_recorded("NO_OUTPUT", "the record has no output of a last step as a whole")
        if last.truncated:
            raise self._not_recorded("OUTPUT_TRUNCATED", "the record holds its output only in part")
        return ExecuteResult.model_validate(self.completed_body())

    def completed_body(self) -> dict[str, Any]:
        """The body that `execute` got, of a run that completed (WIRE.md 3.3)."""
        steps = self.steps
        return {
            "status": "completed",
            "result": steps[-1].output if steps else None,
            "flowId": self.flow_id,
            "blockCount": len(steps) or 1,
            "executionId": self.execution_id,
        }

    def _not_recorded(self, code: str, why: str) -> ResultNotRecordedError:
        return ResultNotRecordedError(
            f"the result of run {self.execution_id} is not to be had from its session: {why}",
            code=code,
            execution_id=self.execution_id,
        )

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


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What the service has recorded of one session: its runs, in the order in which they began."""

    raw: dict[str, Any]

    @property
    def session_id(self) -> str:
        return str(self.raw.get("sessionId") or "")

    @property
    def executions(self) -> list[RecordedRun]:
        return [RecordedRun(run) for run in objects(self.raw, "executions")]


def _text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def objects(record: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects in the list `record[key]`, and nothing else that may be there."""
    items = record.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
