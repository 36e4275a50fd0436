"""This room holds the checkpoint: all one needs to continue a step stream elsewhere (WIRE.md 4.1, 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a run stands: its id, the flow-absolute index of the next step, and the outputs so far by step id.

    `outputs` is shared with the stream that made it, never changed by it afterwards: treat it as read-only.
    """

    execution_id: str | None = None
    step_index: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The checkpoint as a JSON object. The outputs are not copied."""
        return {"execution_id": self.execution_id, "step_index": self.step_index, "outputs": self.outputs}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises ValueError if `value` is not what it wrote."""
        execution_id, step_index = value.get("execution_id"), value.get("step_index", 0)
        outputs = value.get("outputs", {})
        if not (execution_id is None or isinstance(execution_id, str)):
            raise ValueError(f"checkpoint: execution_id must be a string or null, not {execution_id!r}")
        if isinstance(step_index, bool) or not isinstance(step_index, int) or step_index < 0:
            raise ValueError(f"checkpoint: step_index must be an integer from 0 on, not {step_index!r}")
        if not isinstance(outputs, dict):
            raise ValueError(f"checkpoint: outputs must be an object, not {type(outputs).__name__}")
        return cls(execution_id, step_index, outputs)
