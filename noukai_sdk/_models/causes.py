"""This room reads causes: what the service says of a failure, an object with `code` and `message`, or a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noukai_sdk._errors import FlowExecutionError


def code_and_message(cause: Any) -> tuple[str | None, str]:
    """The code, None if it has none, and the message, "" if there is none (WIRE.md 2.1)."""
    if isinstance(cause, Mapping):
        code, message = cause.get("code"), cause.get("message")
        return code if isinstance(code, str) else None, message if isinstance(message, str) else ""
    return None, "" if cause is None else str(cause)


def failed_run(execution_id: str | None, status: str, cause: Any, payload: Any) -> FlowExecutionError:
    """The error for those who do not want a run that is not "completed" as a result (WIRE.md 8.15)."""
    code, message = code_and_message(cause)
    return FlowExecutionError(
        f"the run is {status}, not completed{f' ({message})' if message else ''}",
        code=code,
        execution_id=execution_id,
        response_body=payload,
    )
