"""This room holds what `execute` returns (WIRE.md 3.3, 3.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from noukai_sdk._errors import NoukaiError

ToolResults = Sequence[dict[str, Any]]


class _Result(BaseModel):
    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    _session_id: str | None = PrivateAttr(default=None)

    @property
    def session_id(self) -> str | None:
        """The session the run belongs to, if one was in force."""
        return self._session_id


class ExecuteResult(_Result):
    """A run that ended. A failed flow is a result too: look at `status`."""

    status: Literal["completed", "failed"]
    result: Any = None
    flow_id: str = Field(alias="flowId")
    block_count: int = Field(alias="blockCount")
    execution_id: str | None = Field(default=None, alias="executionId")

    @property
    def output(self) -> Any:
        """The same as `result`."""
        return self.result

    @property
    def requires_tool_calls(self) -> bool:
        return False


class PausedResult(_Result):
    """A run that waits for tool results. It can be stored (`model_dump_json`), and resumed once per object."""

    status: Literal["tool_calls_required"] = "tool_calls_required"
    execution_id: str = Field(alias="executionId")
    paused_at_step: str = Field(alias="pausedAtStep")
    iterations_used: int = Field(alias="iterationsUsed")
    tool_call_messages: list[dict[str, Any]] = Field(alias="toolCallMessages")
    tool_calls: list[dict[str, Any]] = Field(default_factory=list, alias="toolCalls")
    accumulated_outputs: Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)] = (
        Field(default_factory=dict, alias="accumulatedOutputs")
    )
    flow_id: str = Field(alias="flowId")
    block_count: int = Field(alias="blockCount")

    _continue: Callable[[ToolResults], Any] | None = PrivateAttr(default=None)
    _client: Literal["Noukai", "AsyncNoukai"] | None = PrivateAttr(default=None)
    _resumed: bool = PrivateAttr(default=False)

    @property
    def requires_tool_calls(self) -> bool:
        return True

    def attach(self, client: Literal["Noukai", "AsyncNoukai"], proceed: Callable[[ToolResults], Any]) -> None:
        """Make this result resumable: `proceed` sends tool results with the client it came from."""
        self._client, self._continue = client, proceed

    async def resume(self, *, tool_results: ToolResults) -> ExecuteResult | PausedResult:
        """Send the tool results and await the next result. For results of `AsyncFlow.execute`."""
        proceed = self._claim("AsyncNoukai", "resume", "resume_sync")
        try:
            return await cast("Awaitable[ExecuteResult | PausedResult]", proceed(tool_results))
        except (NoukaiError, TypeError) as error:
            self._release(error)
            raise

    def resume_sync(self, *, tool_results: ToolResults) -> ExecuteResult | PausedResult:
        """Send the tool results and return the next result. For results of `Flow.execute`."""
        proceed = self._claim("Noukai", "resume_sync", "resume")
        try:
            return cast("ExecuteResult | PausedResult", proceed(tool_results))
        except (NoukaiError, TypeError) as error:
            self._release(error)
            raise

    def _claim(self, client: str, method: str, other: str) -> Callable[[ToolResults], Any]:
        if self._continue is None:
            raise RuntimeError(
                "this PausedResult was manually constructed; only one that execute() returned can resume"
            )
        if self._client != client:
            raise TypeError(f"this result came from {self._client}: use {other}() instead of {method}()")
        if self._resumed:
            raise RuntimeError("this PausedResult was resumed already; use the result that the first resume returned")
        self._resumed = True
        return self._continue

    def _release(self, error: NoukaiError | TypeError) -> None:
        # What never reached the server may be tried again.
        self._resumed = isinstance(error, NoukaiError) and error.sent

    def __getstate__(self) -> dict[Any, Any]:
        # A copy in another process has no client to go on with.
        state = super().__getstate__()
        private = dict(state["__pydantic_private__"] or {}) | {"_continue": None, "_client": None}
        return {**state, "__pydantic_private__": private}
