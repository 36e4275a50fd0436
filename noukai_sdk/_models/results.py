"""This room holds what `execute` returns (WIRE.md 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Self, cast

from pydantic import Field, PrivateAttr

from noukai_sdk._models.causes import failed_run
from noukai_sdk._models.lenient import Lenient
from noukai_sdk._models.origin import Origin

ToolResults = Sequence[dict[str, Any]]


class InSession(Lenient):
    """What came of a call that may belong to a session."""

    _session_id: str | None = PrivateAttr(default=None)

    @property
    def session_id(self) -> str | None:
        """The session the run belongs to, if one was in force."""
        return self._session_id


class ExecuteResult(InSession):
    """A run that ended, as `status` says: "completed", or "failed", which is a result too."""

    status: str
    result: Any = None
    flow_id: str = Field(alias="flowId")
    block_count: int = Field(default=0, alias="blockCount")
    execution_id: str | None = Field(default=None, alias="executionId")

    @property
    def output(self) -> Any:
        """The same as `result`."""
        return self.result

    @property
    def requires_tool_calls(self) -> bool:
        return False

    def raise_for_status(self) -> Self:
        """This result. Raises FlowExecutionError for a run that did not complete."""
        if self.status != "completed":
            raise failed_run(self.execution_id, self.status, self.result, self.raw)
        return self


class PausedResult(InSession):
    """A run that waits for tool results.

    Resume it once: with its own `resume` or `resume_sync`, or anywhere, also from a dump (`model_dump_json`,
    `model_validate_json`), with the flow's `resume`. `origin` holds what that takes; it is not from the wire.
    """

    status: Literal["tool_calls_required"] = "tool_calls_required"
    execution_id: str = Field(alias="executionId")
    paused_at_step: str = Field(alias="pausedAtStep")
    iterations_used: int = Field(default=0, alias="iterationsUsed")
    tool_call_messages: list[dict[str, Any]] = Field(alias="toolCallMessages")
    tool_calls: list[dict[str, Any]] = Field(default_factory=list, alias="toolCalls")
    accumulated_outputs: dict[str, Any] = Field(default_factory=dict, alias="accumulatedOutputs")
    flow_id: str = Field(default="", alias="flowId")
    block_count: int = Field(default=0, alias="blockCount")
    origin: Origin | None = None

    _continue: Callable[[ToolResults], Any] | None = PrivateAttr(default=None)
    _client: Literal["Noukai", "AsyncNoukai"] | None = PrivateAttr(default=None)

    @property
    def session_id(self) -> str | None:
        """The session the run belongs to, if one was in force."""
        return self.origin.session_id if isinstance(self.origin, Origin) else None

    @property
    def requires_tool_calls(self) -> bool:
        return True

    def attach(self, client: Literal["Noukai", "AsyncNoukai"], proceed: Callable[[ToolResults], Any]) -> None:
        """Make this result resumable: `proceed` sends tool results with the client it came from."""
        self._client, self._continue = client, proceed

    async def resume(self, *, tool_results: ToolResults) -> ExecuteResult | PausedResult:
        """Send the tool results and await the next result. For results of `AsyncFlow.execute`."""
        proceed = self._continuation("AsyncNoukai", "resume", "resume_sync")
        return await cast("Awaitable[ExecuteResult | PausedResult]", proceed(tool_results))

    def resume_sync(self, *, tool_results: ToolResults) -> ExecuteResult | PausedResult:
        """Send the tool results and return the next result. For results of `Flow.execute`."""
        proceed = self._continuation("Noukai", "resume_sync", "resume")
        return cast("ExecuteResult | PausedResult", proceed(tool_results))

    def known_origin(self) -> Origin:
        """The origin. Raises RuntimeError for a result that never was one."""
        # Odd values are kept in fields, and so may stand here.
        if isinstance(self.origin, Origin):
            return self.origin
        raise RuntimeError("this PausedResult was manually constructed; only one that execute() returned can resume")

    def _continuation(self, client: str, method: str, other: str) -> Callable[[ToolResults], Any]:
        if self._continue is None:
            raise RuntimeError(
                "a rebuilt PausedResult has no client, just as a manually constructed one; "
                f"use client.flow({self.known_origin().flow!r}).resume(paused, tool_results=...)"
            )
        if self._client != client:
            raise TypeError(f"this result came from {self._client}: use {other}() instead of {method}()")
        return self._continue

    def __getstate__(self) -> dict[Any, Any]:
        # A copy in another process has no client to go on with.
        state = super().__getstate__()
        private = dict(state["__pydantic_private__"] or {}) | {"_continue": None, "_client": None}
        return {**state, "__pydantic_private__": private}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # The copy goes on with the same client, and as the same resume.
        proceed = self._continue
        return super().__deepcopy__({**(memo or {}), id(proceed): proceed})
