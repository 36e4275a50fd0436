"""Doing a flow's steps: prompts, delays, gates, streamed pieces, loops, tool rounds, failures, outputs, costs.

`Work` knows one request's view of a run. It speaks to its caller only through a `Sink`, so ``/execute``, ``/step`` and
jobs do the same work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from pydantic import JsonValue

from . import step_events
from .answers import Refusal
from .calls import JsonObject
from .events import Sink
from .flows import Burst, Chunks, Step, Tokens
from .ledger import Mark
from .runs import Pause, Run, StepRecord
from .service import Service
from .templates import fill, text_of
from .tools import Offer, ToolTurn


@dataclass(frozen=True, slots=True)
class Completed:
    """The step is done."""

    output: JsonValue


@dataclass(frozen=True, slots=True)
class Failed:
    """The step failed; ``refusal`` is why it was not even begun, if so."""

    error: JsonObject
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class ToolPause:
    """The step needs tools; ``messages`` is the conversation to come back with."""

    step_id: str
    iterations_used: int
    messages: list[JsonObject]
    calls: list[JsonObject]


Outcome = Completed | Failed | ToolPause


@dataclass(slots=True, kw_only=True)
class Work:
    """One request's work on ``run``, which the key ``payer`` pays for.

    ``turn`` holds the tool results that the request brought; the first step done uses them up.
    """

    service: Service
    run: Run
    payer: str
    offer: Offer
    turn: ToolTurn | None
    sink: Sink
    input_overrides: JsonObject = field(default_factory=dict)
    block_overrides: dict[str, JsonObject] = field(default_factory=dict)

    def take_up(self, position: int, outputs: JsonObject) -> None:
        """Go on with a run at ``position``: what it waited for is answered or void. Raise `Refusal` if it may not."""
        if refusal := self.refusal(position):
            raise refusal
        self.run.pauses.clear()
        self.run.outputs.update(outputs)

    def refusal(self, position: int) -> Refusal | None:
        """Return why the step at ``position`` cannot be done now: no credits, or too many rounds of tools."""
        run, turn = self.run, self.turn
        step, limit = run.steps[position], run.flow.max_tool_rounds
        if refusal := self.service.credits.before_step(self.payer, step.id):
            return refusal
        if turn is not None and turn.pause.rounds >= limit and self._next_round(step, turn) is not None:
            return Refusal(409, "TOOL_ITERATION_LIMIT", f"Step {step.id!r} asked for tools {limit} times; no more.")
        return None

    async def bar(self, position: int, refusal: Refusal, *, local: int) -> Failed:
        """Fail the step at ``position`` without doing any of it."""
        step = self.run.steps[position]
        error: JsonObject = {"code": refusal.code, "message": refusal.message}
        await self.sink.emit(*step_events.started(step, local))
        self.run.begin_step(step, self.service.now()).fail(error, self.service.now())
        await self.sink.emit(*step_events.failed(step, error))
        return Failed(error, refusal)

    async def do_step(self, position: int, *, local: int) -> Outcome:
        """Do the step at ``position`` of the flow, the ``local``-th of this request (both from 0)."""
        run, step, turn, now = self.run, self.run.steps[position], self.turn, self.service.now
        self.turn = None
        values = self._values(position)
        values["input"] = self._prompt(step, values)
        values["tools"] = turn.results if turn else "no tools"
        if turn is None:
            # Said before it is counted: a stream that is dropped here has not begun this step.
            await self.sink.emit(*step_events.started(step, local))
            record = run.begin_step(step, now())
            record.input = values["input"]
            ordinal = "started", self._mark(step, "started")
            if not step.loop:
                await self._show_prompt(step, record)
        else:
            record = run.resume_step(step, now())
            ordinal = "resumed", self._mark(step, "resumed")
        if step.gate is not None:
            with self.service.gates.named(text_of(fill(step.gate, values))).queue() as opened:
                await self.sink.wait_for(opened.wait)
        await self.sink.wait(step.delay)
        if self._fails(step, *ordinal):
            return await self._fail(step, record)
        if pause := self._ask_for_tools(step, turn, values):
            return pause
        if step.loop:
            output = await self._loop(step, record, values)
        else:
            output = await self._say(step, values)
        return await self._complete(step, record, output, local)

    def _mark(self, step: Step, mark: Mark) -> int:
        return self.service.ledger.step(self.run, step.id, mark)

    def _values(self, position: int) -> JsonObject:
        run = self.run
        outputs = run.outputs | self.input_overrides
        previous = outputs.get(run.steps[position - 1].id) if position else run.message
        return {"message": run.message, "parameters": run.parameters, "previous": previous, "steps": outputs}

    def _prompt(self, step: Step, values: JsonObject) -> JsonValue:
        override = self.block_overrides.get(step.id, {}).get("prompt")
        return fill(step.input or "{previous}", values) if override is None else override

    async def _show_prompt(self, step: Step, record: StepRecord) -> None:
        if step.input is not None:
            await self.sink.emit(*step_events.prompted(record))
            record.input_shown = True

    def _fails(self, step: Step, *ordinal: object) -> bool:
        failure, path = step.failure, self.run.flow.path
        if failure is None:
            return False
        if failure.times is not None:
            return self.service.ledger.failures(path, step.id) < failure.times
        return self.service.chance.strikes(failure.probability or 0, path, step.id, *ordinal)

    async def _fail(self, step: Step, record: StepRecord) -> Failed:
        assert step.failure is not None
        error: JsonObject = {"code": step.failure.code, "message": step.failure.message}
        self._mark(step, "failed")
        try:
            await self.sink.emit(*step_events.failed(step, error))
        finally:
            record.fail(error, self.service.now())
        return Failed(error)

    def _next_round(self, step: Step, turn: ToolTurn | None) -> int | None:
        done = turn.pause.rounds if turn else 0
        rounds = range(done, len(step.tool_rounds))
        return next((number for number in rounds if self.offer.names(step.tool_rounds[number], number)), None)

    def _ask_for_tools(self, step: Step, turn: ToolTurn | None, values: JsonObject) -> ToolPause | None:
        number = self._next_round(step, turn)
        if number is None:
            return None
        calls = self.offer.calls(step.tool_rounds[number], number, values)
        self.run.pauses.append(Pause(step.id, number + 1, frozenset(str(call["id"]) for call in calls)))
        self.run.tool_iterations += 1
        self.run.status = "paused"
        spoken = turn.messages if turn else self._opening(values["input"])
        assistant: JsonObject = {"role": "assistant", "content": None, "toolCalls": [*calls]}
        return ToolPause(step.id, number + 1, [*spoken, assistant], calls)

    def _opening(self, prompt: JsonValue) -> list[JsonObject]:
        return [*self.run.messages] or [{"role": "user", "content": text_of(prompt)}]

    async def _loop(self, step: Step, record: StepRecord, values: JsonObject) -> JsonValue:
        prompts: list[JsonValue] = []
        outputs: list[JsonValue] = []
        for number in range(step.loop or 0):
            if number:
                await self.sink.wait(step.delay)
            values["loop"] = number
            values["input"] = self._prompt(step, values)
            lap = self.run.begin_lap(record, number, self.service.now())
            lap.input = values["input"]
            await self._show_prompt(step, lap)
            output = await self._say(step, values)
            lap.complete(output, self.service.now(), *_price(step, lap, output))
            prompts.append(lap.input)
            outputs.append(output)
            await self.sink.emit(*step_events.lap_done(step, lap))
        record.input = prompts
        await self.sink.emit(*step_events.loop_done(step))
        return outputs

    async def _say(self, step: Step, values: JsonObject) -> JsonValue:
        output = fill(step.output, values)
        if step.chunks:
            await self._stream(step.id, step.chunks, output)
        if step.burst:
            await self._burst(step.id, step.burst)
        return output

    async def _stream(self, step_id: str, chunks: Chunks, output: JsonValue) -> None:
        wrapped = isinstance(output, dict)
        text = text_of(output["text"] if isinstance(output, dict) else output)
        for piece in _pieces(text, chunks.words):
            await self.sink.wait(chunks.delay)
            await self.sink.emit(*step_events.piece(step_id, {"text": piece} if wrapped else piece))

    async def _burst(self, step_id: str, burst: Burst) -> None:
        # What is left for the padding once ids, quotes and braces are counted; the same for every number.
        overhead = len(f'{{"stepId":"{step_id}","outputData":{{"n":0000000,"pad":""}}}}')
        for number in range(burst.events):
            pad = "x" * (burst.bytes - overhead + 7 - len(str(number)))
            await self.sink.emit(*step_events.piece(step_id, {"n": number, "pad": pad}))
            # Even without an interval the other streams get their turn.
            await asyncio.sleep(burst.interval)

    async def _complete(self, step: Step, record: StepRecord, output: JsonValue, local: int) -> Completed:
        tokens, cost_usd = _sum(self.run.laps(record)) if step.loop else _price(step, record, output)
        self.service.credits.charge(self.payer, cost_usd)
        # The run's record says so only once the frame is written.
        done = replace(record)
        done.complete(output, now := self.service.now(), tokens, cost_usd)
        whole = await self.sink.emit(*step_events.completed(step, done, local))
        if whole:
            self._mark(step, "completed")
        record.complete(output, now, tokens, cost_usd)
        self.run.outputs[step.id] = output
        return Completed(output)


def _price(step: Step, record: StepRecord, output: JsonValue) -> tuple[Tokens, str]:
    tokens = step.tokens or Tokens(prompt=_words(record.input), completion=_words(output))
    return tokens, step.cost_usd or f"{(tokens.prompt + 4 * tokens.completion) / 1_000_000:.6f}"


def _sum(laps: list[StepRecord]) -> tuple[Tokens, str]:
    prompt = sum(lap.tokens.prompt for lap in laps if lap.tokens)
    completion = sum(lap.tokens.completion for lap in laps if lap.tokens)
    cost = sum((Decimal(lap.cost_usd) for lap in laps if lap.cost_usd), Decimal(0))
    return Tokens(prompt=prompt, completion=completion), f"{cost:f}"


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
