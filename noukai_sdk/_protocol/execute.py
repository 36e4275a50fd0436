"""This room holds the conversation behind `execute`: a request, and as many tool rounds as the flow asks for (WIRE.md 3)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from noukai_sdk._errors import NoukaiError, ToolCallLimitError
from noukai_sdk._json import encode
from noukai_sdk._models.origin import Origin
from noukai_sdk._models.requests import ExecuteRequest, tool_messages
from noukai_sdk._models.results import ExecuteResult, PausedResult
from noukai_sdk._protocol.cassette import Cassette
from noukai_sdk._protocol.effects import Call, Conversation, Effect, Observe, Reply, Send, watched
from noukai_sdk._protocol.paths import Version
from noukai_sdk._protocol.replay import play_execution
from noukai_sdk._protocol.replies import json_object, object_in
from noukai_sdk._protocol.retry import ask, is_undone
from noukai_sdk._protocol.session import CallSession

Result = ExecuteResult | PausedResult
ToolFunction = Callable[[list[dict[str, Any]]], Any]
DEFAULT_TOOL_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Execution:
    """One run by `execute`: what to ask, where, and who answers its tool calls. `timeout` in seconds.

    `flow` and `version` are what a pause remembers, to be resumed elsewhere.
    """

    request: ExecuteRequest
    path: str
    session: CallSession
    timeout: float | None
    max_retries: int
    tool_handler: ToolFunction | None
    max_tool_rounds: int
    flow: str | None = None
    version: Version = "production"

    observe: Observe | None = None

    def start(self) -> Conversation[Result]:
        """The fresh call, then the tool rounds; or what a recording answers."""
        return watched(self._start(), self.observe)

    def resume(self, paused: PausedResult, tool_results: Any) -> Conversation[Result]:
        """The call that brings tool results, then further rounds.

        Raises RuntimeError for a pause that was resumed before. A call that the server did not take is none.
        """
        return watched(self._resume(paused, tool_results), self.observe)

    def _start(self) -> Generator[Effect, Any, Result]:
        if (cassette := self.session.cassette) is not None:
            return (yield from self._play(cassette))
        result = yield from self._ask(self.request.fresh_body(), self.session.id, is_fresh=True)
        return (yield from self._answer_tools(result))

    def _resume(self, paused: PausedResult, tool_results: Any) -> Generator[Effect, Any, Result]:
        self.session.refuse_replay("resuming a PausedResult")
        messages = tool_messages(tool_results, "tool_results")
        encode(messages)  # raises ValueError, before this is the one resume
        origin = paused.known_origin()
        origin.claim()
        try:
            result = yield from self._send_results(paused, messages)
        except NoukaiError as error:
            if is_undone(error):
                origin.release()
            raise
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
        return (yield from self._ask(body, paused.session_id, is_fresh=False))

    def _ask(self, body: dict[str, Any], session_id: str | None, *, is_fresh: bool) -> Generator[Effect, Any, Result]:
        # The server remembers the session of the fresh call (WIRE.md 3.1).
        header = session_id if is_fresh else None
        reply = yield from ask(Send("POST", self.path, body, header, self.timeout), self.max_retries)
        result = result_from(reply)
        result._session_id = session_id
        if isinstance(result, PausedResult):
            result.origin = Origin.of(self.request, self.flow, self.version, session_id)
        return result

    def _play(self, cassette: Cassette) -> Generator[Effect, Any, ExecuteResult]:
        session_id, body = yield from play_execution(cassette, self.session, self.max_retries)
        result = ExecuteResult.from_wire(body)
        result._session_id = session_id
        return result


def result_from(reply: Reply) -> Result:
    """The result in a 2xx reply. Raises APIResponseError if there is none."""
    if json_object(reply).get("status") == "tool_calls_required":
        return object_in(reply, PausedResult, "a paused result")
    return object_in(reply, ExecuteResult, "a result")


def check_tool_rounds(rounds: int, max_tool_rounds: int, execution_id: str | None) -> None:
    """Raise ToolCallLimitError if one more round is too many."""
    if rounds >= max_tool_rounds:
        raise ToolCallLimitError(
            f"the flow asked for more tool rounds than max_tool_rounds={max_tool_rounds} allows; raise the limit",
            code="TOOL_CALL_LIMIT_CLIENT",
            execution_id=execution_id,
        )
