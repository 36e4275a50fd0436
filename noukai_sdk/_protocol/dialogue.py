"""This room holds the conversation behind `steps` and `events`: calls to /step until the flow has ended (WIRE.md 4.4)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from noukai_sdk._errors import NoukaiError
from noukai_sdk._protocol.effects import (
    FINISH,
    READ,
    Call,
    Conversation,
    Deliver,
    Effect,
    Observe,
    Send,
    watched,
)
from noukai_sdk._protocol.execute import ToolFunction, check_tool_rounds
from noukai_sdk._protocol.replies import odd_reply
from noukai_sdk._protocol.retry import ask
from noukai_sdk._protocol.stream import State, StepMachine


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One flow by steps: the machine, where to send its requests, and who answers its tool calls."""

    machine: StepMachine
    path: str
    session_id: str | None
    max_retries: int
    tool_handler: ToolFunction | None
    max_tool_rounds: int
    observe: Observe | None = None

    def run(self) -> Conversation[None]:
        """Yields effects until the flow has ended. Raises NoukaiError with the checkpoint in it."""
        return watched(self._run(), self.observe)

    def _run(self) -> Generator[Effect, Any, None]:
        machine = self.machine
        rounds = 0
        try:
            while True:
                yield from self._call()
                if machine.state is State.TOOLS and self.tool_handler is not None:
                    check_tool_rounds(rounds, self.max_tool_rounds, machine.execution_id)
                    rounds += 1
                    machine.answer((yield Call(self.tool_handler, machine.pause.calls if machine.pause else [])))
                # Without an answer the same request would run, and cost, the same step again (WIRE.md 8.6).
                if machine.state is State.FINISHED or (machine.state is State.TOOLS and not machine.answered):
                    return
        except NoukaiError as error:
            error.checkpoint = machine.checkpoint
            error.execution_id = error.execution_id or machine.execution_id
            raise

    def _call(self) -> Generator[Effect, Any, None]:
        machine = self.machine
        body = machine.next_body()
        reply = yield from ask(Send("POST", self.path, body, self.session_id, stream=True), self.max_retries)
        is_stream = "text/event-stream" in reply.headers.get("content-type", "text/event-stream")
        while machine.state is State.READING:
            chunk = yield READ
            frames = machine.end_of_body() if chunk is None else machine.receive(chunk)
            if frames:
                is_stream = True
                yield Deliver(frames, is_last=machine.state is not State.READING)
            if chunk is None and not is_stream:
                # A page without a single event, such as a proxy's, will not become a stream by asking again.
                raise odd_reply(reply, "is not an event stream")
            if machine.failure is not None:
                raise machine.failure
        yield FINISH
