"""This room holds the conversation behind `execute`: a request, and as many tool rounds as the flow asks for (WIRE.md 3)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from noukai_sdk._errors import ToolCallLimitError
from noukai_sdk._models.requests import ExecuteRequest, tool_messages
from noukai_sdk._models.results import ExecuteResult, PausedResult
from noukai_sdk._protocol.effects import Call, Conversation, Effect, Observe, Reply, Send, watched
from noukai_sdk._protocol.replies import json_object, odd_reply
from noukai_sdk._protocol.retry import ask

Result = ExecuteResult | PausedResult
ToolFunction = Callable[[list[dict[str, Any]]], Any]
DEFAULT_TOOL_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Execution:
    """One run by `execute`: what to ask, where, and who answers its tool calls. `timeout` in seconds."""

    request: ExecuteRequest
    path: str
    session_id: str | None
    timeout: float | None
    max_retries: int
    tool_handler: ToolFunction | None
    max_tool_rounds: int
    observe: Observe | None = None

    def start(self) -> Conversation[Result]:
        """The fresh call, then the tool rounds."""
        return watched(self._start(), self.observe)

    def resume(self, paused: PausedResult, tool_results: Any) -> Conversation[Result]:
        """The call that brings tool results, then further rounds."""
        return watched(self._resume(paused, tool_results), self.observe)

    def _start(self) -> Generator[Effect, Any, Result]:
        result = yield from self._ask(self.request.fresh_body(), self.session_id)
        return (yield from self._answer_tools(result))

    def _resume(self, paused: PausedResult, tool_results: Any) -> Generator[Effect, Any, Result]:
        result = yield from self._send_results(paused, tool_messages(tool_results, "tool_results"))
        return (yield from self._answer_tools(result))

    def _answer_tools(self, result: Result) -> Generator[Effect, Any, Result]:
        rounds = 0
        while isinstance(result, PausedResult) and self.tool_handler is not None:
            check_tool_rounds(rounds, self.max_tool_rounds, result.execution_id)
            rounds += 1
            answers = yield Call(self.tool_handler, result.tool_calls)
            result = yield from self._send_results(result, tool_messages(answers))
        return result

    def _send_results(self, paused: PausedResult, results: list[dict[str, Any]]) -> Generator[Effect, Any, Result]:
        body = self.request.resume_body(
            paused.execution_id,
            paused.paused_at_step,
            paused.iterations_used,
            [*paused.tool_call_messages, *results],
            paused.accumulated_outputs,
        )
        # The server remembers the session of the fresh call (WIRE.md 3.1).
        return (yield from self._ask(body, None))

    def _ask(self, body: dict[str, Any], session_id: str | None) -> Generator[Effect, Any, Result]:
        reply = yield from ask(Send("POST", self.path, body, session_id, self.timeout), self.max_retries)
        result = result_from(reply)
        result._session_id = self.session_id
        return result


def result_from(reply: Reply) -> Result:
    """The result in a 2xx reply. Raises APIResponseError if there is none."""
    body = json_object(reply)
    model = PausedResult if body.get("status") == "tool_calls_required" else ExecuteResult
    try:
        return model.model_validate(body)
    except ValidationError as error:
        fields = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}))
        raise odd_reply(reply, f"is not a result (see {fields})") from error


def check_tool_rounds(rounds: int, max_tool_rounds: int, execution_id: str | None) -> None:
    """Raise ToolCallLimitError if one more round is too many."""
    if rounds >= max_tool_rounds:
        raise ToolCallLimitError(
            f"the flow asked for more tool rounds than max_tool_rounds={max_tool_rounds} allows; raise the limit",
            code="TOOL_CALL_LIMIT_CLIENT",
            execution_id=execution_id,
        )
