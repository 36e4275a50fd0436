"""Doing a flow's steps: prompts, delays, streamed pieces, tool rounds, failures, outputs.

`Work` knows one request's view of a run. It speaks to its caller only through a `Sink`, so ``/execute`` and
``/step`` do the same work.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import JsonValue

from .calls import JsonObject
from .events import Sink
from .flows import Burst, Chunks, Step, Tokens
from .ledger import Clock, Ledger
from .runs import Run, StepRecord
from .templates import fill, text_of
from .tools import Offer, ToolTurn


@dataclass(frozen=True, slots=True)
class Completed:
    """The step is done."""

    output: JsonValue


@dataclass(frozen=True, slots=True)
class Failed:
    """The step failed."""

    error: JsonObject


@dataclass(frozen=True, slots=True)
class ToolPause:
    """The step needs tools; ``messages`` is the conversation to come back with."""

    iterations_used: int
    messages: list[JsonObject]
    calls: list[JsonObject]


Outcome = Completed | Failed | ToolPause


@dataclass(slots=True, kw_only=True)
class Work:
    """One request's work on ``run``. ``turn`` holds the tool results it brought; the first step done uses them up."""

    run: Run
    offer: Offer
    turn: ToolTurn | None
    sink: Sink
    ledger: Ledger
    now: Clock
    input_overrides: JsonObject = field(default_factory=dict)
    block_overrides: dict[str, JsonObject] = field(default_factory=dict)

    async def do_step(self, position: int, *, local: int) -> Outcome:
        """Do the step at ``position`` of the flow, the ``local``-th of this request (both from 0)."""
        run, step, turn = self.run, self.run.steps[position], self.turn
        self.turn = None
        values = self._values(position)
        values["input"] = self._prompt(step, values)
        values["tools"] = turn.results if turn else "no tools"
        if turn is None:
            # Said before it is counted: a stream that is dropped here has not begun this step.
            await self.sink.emit("step_started", _named(step) | {"stepIndex": local})
            record = run.begin_step(step, self.now())
            record.input = values["input"]
            self.ledger.step(run, step.id, "started")
            if step.input is not None:
                await self.sink.emit("step_input", {"stepId": step.id, "inputData": {"prompt": values["input"]}})
        else:
            record = run.resume_step(step, self.now())
            self.ledger.step(run, step.id, "resumed")
        await self.sink.wait(step.delay)
        if self._fails(step):
            return await self._fail(step, record)
        if pause := self._ask_for_tools(step, turn, values):
            return pause
        output = fill(step.output, values)
        if step.chunks:
            await self._stream(step.id, step.chunks, output)
        if step.burst:
            await self._burst(step.id, step.burst)
        return await self._complete(step, record, output, local)

    def _values(self, position: int) -> JsonObject:
        run = self.run
        outputs = run.outputs | self.input_overrides
        previous = outputs.get(run.steps[position - 1].id) if position else run.message
        return {"message": run.message, "parameters": run.parameters, "previous": previous, "steps": outputs}

    def _prompt(self, step: Step, values: JsonObject) -> JsonValue:
        override = self.block_overrides.get(step.id, {}).get("prompt")
        return fill(step.input or "{previous}", values) if override is None else override

    def _fails(self, step: Step) -> bool:
        failure = step.failure
        if failure is None:
            return False
        if failure.times is not None:
            return self.ledger.failures(self.run.flow.path, step.id) < failure.times
        return random.random() < (failure.probability or 0)  # noqa: S311 - a rehearsal, not a secret

    async def _fail(self, step: Step, record: StepRecord) -> Failed:
        assert step.failure is not None
        error: JsonObject = {"code": step.failure.code, "message": step.failure.message}
        self.ledger.step(self.run, step.id, "failed")
        record.status, record.completed_at, record.error = "failed", self.now(), error
        await self.sink.emit("step_error", _named(step) | {"error": error})
        return Failed(error)

    def _ask_for_tools(self, step: Step, turn: ToolTurn | None, values: JsonObject) -> ToolPause | None:
        done = turn.rounds if turn else 0
        for number, round_ in enumerate(step.tool_rounds[done:], start=done):
            calls = self.offer.calls(round_, number, values)
            if not calls:
                continue
            for call in calls:
                self.run.tool_calls[str(call["id"])] = (step.id, number)
            self.run.tool_iterations += 1
            self.run.status = "paused"
            spoken = turn.messages if turn else self._opening(values["input"])
            assistant: JsonObject = {"role": "assistant", "content": None, "toolCalls": [*calls]}
            return ToolPause(number + 1, [*spoken, assistant], calls)
        return None

    def _opening(self, prompt: JsonValue) -> list[JsonObject]:
        return [*self.run.messages] or [{"role": "user", "content": text_of(prompt)}]

    async def _stream(self, step_id: str, chunks: Chunks, output: JsonValue) -> None:
        wrapped = isinstance(output, dict)
        text = text_of(output["text"] if isinstance(output, dict) else output)
        for piece in _pieces(text, chunks.words):
            await self.sink.wait(chunks.delay)
            await self.sink.emit(
                "step_output", {"stepId": step_id, "outputData": {"text": piece} if wrapped else piece}
            )

    async def _burst(self, step_id: str, burst: Burst) -> None:
        # What is left for the padding once ids, quotes and braces are counted; the same for every number.
        overhead = len(f'{{"stepId":"{step_id}","outputData":{{"n":0000000,"pad":""}}}}')
        for number in range(burst.events):
            pad = "x" * (burst.bytes - overhead + 7 - len(str(number)))
            await self.sink.emit("step_output", {"stepId": step_id, "outputData": {"n": number, "pad": pad}})
            # Even without an interval the other streams get their turn.
            await asyncio.sleep(burst.interval)

    async def _complete(self, step: Step, record: StepRecord, output: JsonValue, local: int) -> Completed:
        now = self.now()
        tokens = step.tokens or Tokens(prompt=_words(record.input), completion=_words(output))
        figures = {"prompt": tokens.prompt, "completion": tokens.completion, "total": tokens.prompt + tokens.completion}
        whole = await self.sink.emit(
            "step_completed",
            _named(step)
            | {
                "stepIndex": local,
                "output": output,
                "durationMs": round((now - record.started_at) * 1000),
                "tokens": figures,
                "costUsd": step.cost_usd or f"{(tokens.prompt + 4 * tokens.completion) / 1_000_000:.6f}",
            },
        )
        if whole:
            self.ledger.step(self.run, step.id, "completed")
        record.status, record.completed_at, record.output = "completed", now, output
        self.run.outputs[step.id] = output
        return Completed(output)


def _named(step: Step) -> dict[str, object]:
    return {"stepId": step.id, "name": step.name or step.id}


def _words(value: JsonValue) -> int:
    return max(1, len(text_of(value).split()))


def _pieces(text: str, words: int) -> Iterator[str]:
    # Cut before a word, so that the pieces joined are the text again.
    start, seen, in_word = 0, 0, False
    for position, letter in enumerate(text):
        if letter.isspace():
            in_word = False
        elif not in_word:
            in_word = True
            seen += 1
            if seen > words:
                yield text[start:position]
                start, seen = position, 1
    if start < len(text):
        yield text[start:]
