"""A server that answers the step protocol with whatever bytes it is told, and what must hold of the client whatever they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from noukai_sdk import Checkpoint, Frame, NoukaiError
from noukai_sdk._models.requests import StepRequest
from noukai_sdk._protocol.dialogue import Dialogue
from noukai_sdk._protocol.effects import Call, Deliver, Effect, Read, Reply, Send
from noukai_sdk._protocol.session import NO_SESSION
from noukai_sdk._protocol.stream import StepMachine

MAX_TOOL_ROUNDS = 3
RESULT = {"role": "tool", "toolCallId": "c", "content": "ok"}


@dataclass
class Spoken:
    """What was said: the request bodies as text, in rounds that tool calls part; the frames; and how it ended."""

    rounds: list[list[str]] = field(default_factory=lambda: [[]])
    frames: list[Frame] = field(default_factory=list)
    error: NoukaiError | None = None

    @property
    def requests(self) -> list[str]:
        return [request for requests in self.rounds for request in requests]


def speak(
    bodies: Sequence[Sequence[bytes]], *, answers_tools: bool, run_remaining: bool = False, at_most: int = 25
) -> Spoken:
    """Let a client run a flow whose requests are answered with `bodies` in turn, over and over, `at_most` so many."""
    spoken = Spoken()
    dialogue = Dialogue(
        StepMachine(StepRequest(message="hi", run_remaining=run_remaining)),
        path="/",
        session=NO_SESSION,
        max_retries=0,
        tool_handler=(lambda _: [RESULT]) if answers_tools else None,
        max_tool_rounds=MAX_TOOL_ROUNDS,
    )
    conversation = dialogue.run()
    answers = cycle(bodies)
    chunks = iter(())
    outcome: Any = None
    try:
        while len(spoken.requests) < at_most:
            effect: Effect = conversation.send(outcome)
            outcome = None
            match effect:
                case Send(body=body):
                    spoken.rounds[-1].append(json.dumps(body, sort_keys=True))
                    chunks = iter(next(answers))
                    outcome = Reply(200, {"content-type": "text/event-stream"}, None, 0.0)
                case Read():
                    outcome = next(chunks, None)
                case Deliver(frames=frames):
                    spoken.frames += frames
                case Call(function=function, argument=calls):
                    spoken.rounds.append([])
                    outcome = function(calls)
    except StopIteration:
        pass
    except NoukaiError as error:
        spoken.error = error
    finally:
        conversation.close()
    return spoken


def check(spoken: Spoken) -> None:
    """What holds whatever a server sends (WIRE.md 8.6, 8.14). Raises AssertionError."""
    for frame in spoken.frames:
        event = frame.event()
        assert event is None or event.event_type == frame.type
        assert b"\n" not in frame.data
        assert isinstance(frame.payload, dict)
        if frame.checkpoint is not None:
            saved = json.loads(json.dumps(frame.checkpoint.to_dict()))
            assert Checkpoint.from_dict(saved).step_index == frame.checkpoint.step_index
    # A server may go back to a step by asking for tools (its index is absolute, WIRE.md 4.3 b), but not for ever; in
    # between, each request is for a later step.
    assert len(spoken.rounds) - 1 <= MAX_TOOL_ROUNDS
    for requests in spoken.rounds:
        assert len(set(requests)) == len(requests)
