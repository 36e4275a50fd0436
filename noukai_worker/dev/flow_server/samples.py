"""The built-in flows: what examples and tests run without writing a flow file."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from .answers import Refusal
from .flows import Burst, Chunks, Flow, Seconds, Step, Tokens, ToolCall

_MOMENT = 0.005


class _Load(BaseModel):
    model_config = ConfigDict(extra="ignore")

    steps: int = Field(default=3, ge=1, le=1000)
    events: int = Field(default=200, ge=0, le=1_000_000)
    interval: Seconds = 0.0
    bytes: int = Field(default=180, ge=1, le=1_000_000)


class LoadFlow(Flow):
    """A flow steered by its parameters: ``steps`` steps of ``events`` frames of ``bytes``, ``interval`` seconds apart."""

    def steps_for(self, parameters: Mapping[str, JsonValue]) -> tuple[Step, ...]:
        """Return the steps asked for; raise `Refusal` 400 for senseless figures."""
        try:
            load = _Load.model_validate(dict(parameters))
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            raise Refusal(400, "PARAMETERS_INVALID", f"parameters.{first['loc'][0]}: {first['msg']}.") from None
        burst = Burst(events=load.events, interval=load.interval, bytes=load.bytes)
        return tuple(
            Step(
                id=f"load-{number}",
                output={"step": number, "events": load.events},
                burst=burst,
                tokens=Tokens(prompt=10, completion=load.events),
            )
            for number in range(1, load.steps + 1)
        )


_ESSAY = {
    "outline": (
        "An outline of {message}: where it began, what it changed, whom it cost, what it left, and why it is told"
        " at all. Each part gets one page, one witness and one doubt; the rest is patience."
    ),
    "opening": (
        "It began, as {message} always begins, with somebody who was tired of waiting. There was no plan on the"
        " table, only a cold cup and a list of things that others had called impossible."
    ),
    "middle": (
        "Then it became work. For every page that was kept, three were thrown away, and the margins filled with"
        " questions. What is {message} for? Who pays for it? And who will notice if it stops?"
    ),
    "turn": (
        "The answer came from the side, as answers do. Somebody counted what had been lost and found that most of it"
        " had only been put down in the wrong place. After that {message} looked almost easy."
    ),
    "ending": (
        "So this is what remains of {message}: a handful of habits, a few names, and the quiet knowledge that"
        " whatever breaks in the night can be picked up in the morning where it was left."
    ),
}


def _samples() -> tuple[Flow, ...]:
    return (
        Flow(
            path="acme/demo/hello-world",
            steps=(Step(id="greet", name="Greet", delay=_MOMENT, output="Hello, {message}!"),),
        ),
        Flow(
            path="acme/process/default",
            steps=(Step(id="process", name="Process", delay=_MOMENT, output="Processed: {message}"),),
        ),
        Flow(
            path="acme/demo/two-step",
            steps=(
                Step(id="step-a", name="A", delay=_MOMENT, output={"text": "a: {message}"}),
                Step(id="step-b", name="B", delay=_MOMENT, output={"text": "b: {previous.text}"}),
            ),
        ),
        Flow(
            path="acme/spelling/grade-3",
            steps=(
                Step(
                    id="pick-words",
                    name="Pick the words",
                    input="Which words should a third-grader learn to spell from: {message}",
                    output="Words to practise today: {message}. Say each one aloud, then cover it and write it.",
                    chunks=Chunks(words=3, delay=_MOMENT),
                ),
                Step(
                    id="write-exercise",
                    name="Write the exercise",
                    input="Write a short exercise for: {previous}",
                    output="Exercise. {previous} When you are done, turn the page and check each letter with a pencil.",
                    chunks=Chunks(words=3, delay=_MOMENT),
                ),
            ),
        ),
        Flow(
            path="acme/demo/tools-enabled",
            steps=(
                Step(
                    id="answer",
                    name="Answer",
                    delay=_MOMENT,
                    tool_rounds=((ToolCall(),),),
                    output="{message} → {tools}",
                ),
            ),
        ),
        Flow(
            path="acme/demo/agent-tools",
            steps=(
                Step(
                    id="research",
                    name="Research",
                    delay=_MOMENT,
                    tool_rounds=((ToolCall(),), (ToolCall(),)),
                    output="{message}: {tools}",
                ),
                Step(id="report", name="Report", delay=_MOMENT, output="Report. {previous}"),
            ),
        ),
        Flow(
            path="acme/demo/slow-essay",
            steps=tuple(
                Step(
                    id=step_id,
                    name=step_id.capitalize(),
                    input=f"Write the {step_id} of an essay about {{message}}.",
                    output=text,
                    chunks=Chunks(words=1, delay=0.045),
                )
                for step_id, text in _ESSAY.items()
            ),
        ),
        LoadFlow(path="acme/demo/load", steps=(Step(id="load-1"),)),
    )


#: The built-in flows by path.
SAMPLES: Mapping[str, Flow] = {flow.path: flow for flow in _samples()}
