"""This room holds the conversation behind `steps` and `events`: calls to /step until the flow has ended (WIRE.md 4.4)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from noukai_sdk._errors import NoukaiError
from noukai_sdk._protocol.body import read
from noukai_sdk._protocol.effects import Call, Conversation, Effect, Observe, Send, watched
from noukai_sdk._protocol.execute import ToolFunction, check_tool_rounds
from noukai_sdk._protocol.replay import play_steps
from noukai_sdk._protocol.session import CallSession
from noukai_sdk._protocol.stream import State, StepMachine


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One flow by steps: the machine, where to send its requests, and who answers its tool calls."""

    machine: StepMachine
    path: str
    session: CallSession
    max_retries: int
    tool_handler: ToolFunction | None
    max_tool_rounds: int
    observe: Observe | None = None

    def run(self) -> Conversation[None]:
        """Yields effects until the flow, or its recording, has ended. Raises NoukaiError with the checkpoint in it."""
        return watched(self._run(), self.observe)

    def _run(self) -> Generator[Effect, Any, None]:
        machine = self.machine
        rounds = 0
        try:
            if (cassette := self.session.cassette) is not None:
                return (yield from play_steps(cassette, self.session, machine, self.max_retries))
            session_id = self.session.id
            while True:
                send = Send("POST", self.path, machine.next_body(), session_id, stream=True)
                yield from read(send, machine, self.max_retries)
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
