"""This room holds what the service says of queued runs (WIRE.md 5.1, 5.2)."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from noukai_sdk._models.causes import failed_run
from noukai_sdk._models.lenient import Lenient
from noukai_sdk._models.results import InSession

_FINAL = frozenset({"completed", "failed", "cancelled", "canceled", "aborted", "expired", "timed_out"})


class JobAccepted(InSession):
    """The receipt of a queued run."""

    execution_id: str = Field(alias="executionId", min_length=1)
    status: str = ""
    flow_id: str = Field(default="", alias="flowId")
    block_count: int = Field(default=0, alias="blockCount")


class JobStatus(Lenient):
    """Where a queued run stands: "pending", "running", "completed", "failed", or another word of the service.

    `result` is the flow's output. `error` is usually a text; it is kept as it came.
    """

    execution_id: str = Field(default="", alias="executionId")
    status: str
    result: Any = None
    error: Any = None

    @property
    def output(self) -> Any:
        """The same as `result`."""
        return self.result

    def raise_for_status(self) -> Self:
        """This status. Raises FlowExecutionError for a run that did not complete, or not yet."""
        if self.status != "completed":
            raise failed_run(self.execution_id, self.status, self.error, self.raw)
        return self

    @property
    def is_final(self) -> bool:
        """Whether the run has ended, well or not: completed, failed, cancelled (or canceled), aborted, expired, timed_out."""
        return self.status in _FINAL
