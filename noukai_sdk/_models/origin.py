"""This room holds the origin of a pause: what a resume has to repeat, in this process or another (WIRE.md 3.1)."""

from __future__ import annotations

import threading
from typing import Any, Self

from pydantic import Field

from noukai_sdk._models.lenient import Lenient
from noukai_sdk._models.requests import ExecuteRequest, ToolChoice

_claiming = threading.Lock()


class Origin(Lenient):
    """The call that paused. `flow` is "org/project/slug", or None if no flow of a client made it.

    `resumed` becomes true with the first resume, and is written down with the rest.
    """

    flow: str | None
    version: str | int = "production"
    session_id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    block_overrides: dict[str, dict[str, Any]] | None = None
    attachments: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: ToolChoice | None = None
    trace: bool = False
    resumed: bool = False

    @classmethod
    def of(cls, request: ExecuteRequest, flow: str | None, version: str | int, session_id: str | None) -> Self:
        return cls(
            flow=flow,
            version=version,
            session_id=session_id,
            parameters=request.parameters,
            block_overrides=request.block_overrides,
            attachments=request.attachments,
            tools=request.tools,
            tool_choice=request.tool_choice,
            trace=request.trace,
        )

    def request(self) -> ExecuteRequest:
        """The request without its message, which a resume does not send."""
        return ExecuteRequest(
            message=None,
            messages=None,
            parameters=self.parameters,
            block_overrides=self.block_overrides,
            attachments=self.attachments,
            tools=self.tools,
            tool_choice=self.tool_choice,
            trace=self.trace,
        )

    def claim(self) -> None:
        """Be the one resume there is. Raises RuntimeError for a second."""
        with _claiming:
            if self.resumed:
                raise RuntimeError(
                    "this PausedResult was resumed already; use the result that the first resume returned"
                )
            self.resumed = True

    def release(self) -> None:
        """Allow another resume, after one that the server did not take."""
        self.resumed = False
