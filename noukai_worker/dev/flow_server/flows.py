"""What a flow is: its steps, what each says, how long it takes, where it asks for tools or fails.

These models are also the grammar of the flow file (`flow_file`), so their field names are what people write.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from .manners import Order
from .templates import ROOTS, unknown_roots

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
MAX_ROUNDS = 1000
#: Slug rules of the service (WIRE.md 2), with one-letter names allowed.
SLUG = r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?"


class Part(BaseModel):
    """A frozen piece of a flow; unknown members are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Chunks(Part):
    """The step's text is streamed ``words`` at a time, ``delay`` seconds before each piece."""

    words: int = Field(default=1, ge=1)
    delay: Seconds = 0.0


class Burst(Part):
    """The step streams ``events`` numbered frames whose data is ``bytes`` bytes long, ``interval`` seconds apart."""

    events: int = Field(default=200, ge=0, le=1_000_000)
    interval: Seconds = 0.0
    bytes: int = Field(default=180, ge=1, le=1_000_000)


class ToolCall(Part):
    """One tool the step asks for; without ``name`` the caller's first tool, without ``arguments`` made-up ones."""

    name: str | None = None
    arguments: dict[str, JsonValue] | None = None


class Failure(Part):
    """The step fails: its first ``times`` executions, or each with ``probability``."""

    times: int | None = Field(default=None, ge=1)
    probability: float | None = Field(default=None, gt=0, le=1)
    code: str = "STEP_FAILED"
    message: str = "This step was told to fail."

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.times is None) == (self.probability is None):
            raise ValueError("give either times or probability")
        return self


class Tokens(Part):
    """Token figures of a step."""

    prompt: int = Field(ge=0)
    completion: int = Field(ge=0)

    @property
    def figures(self) -> dict[str, int]:
        """The wire's form, with the total."""
        return {"prompt": self.prompt, "completion": self.completion, "total": self.prompt + self.completion}


class Step(Part):
    """One step. ``input`` is the prompt, ``output`` the result; both are templates (`templates`).

    ``{previous}`` is the output of the step before (the message, in the first step), ``{input}`` the filled
    prompt, ``{tools}`` the tool results. ``input``, when given, is shown as a ``step_input`` event.

    ``gate``, a template too, names the gate at which the step waits until it is opened (`gates`). With ``loop`` the
    step does its work so many times; ``{loop}`` counts from 0 and the output is the list of all outputs. A number as
    ``tool_rounds`` stands for so many rounds of one call of the caller's first tool.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    name: str = ""
    input: str | None = None
    output: JsonValue = "{input}"
    delay: Seconds = 0.0
    gate: str | None = None
    loop: int | None = Field(default=None, ge=1, le=1000)
    chunks: Chunks | None = None
    burst: Burst | None = None
    tool_rounds: tuple[Annotated[tuple[ToolCall, ...], Field(min_length=1)], ...] = ()
    failure: Failure | None = None
    tokens: Tokens | None = None
    cost_usd: str | None = Field(default=None, pattern=r"^\d+(\.\d+)?$")
    model: str = "local/echo"

    @field_validator("tool_rounds", mode="before")
    @classmethod
    def _so_many_rounds(cls, rounds: object) -> object:
        if type(rounds) is not int:
            return rounds
        if not 1 <= rounds <= MAX_ROUNDS:
            raise ValueError(f"give 1 to {MAX_ROUNDS} rounds")
        return (({},),) * rounds

    @field_validator("input", "output", "gate")
    @classmethod
    def _placeholders_exist(cls, template: JsonValue) -> JsonValue:
        if unknown := unknown_roots(template):
            known = ", ".join(f"{{{root}}}" for root in ROOTS)
            raise ValueError(f"{{{unknown[0]}}} is no placeholder; use one of {known}, or {{{{…}}}} for literal braces")
        return template

    @model_validator(mode="after")
    def _text_to_chunk(self) -> Self:
        if self.chunks and not (
            isinstance(self.output, str) or (isinstance(self.output, dict) and isinstance(self.output.get("text"), str))
        ):
            raise ValueError("chunks need a text to cut: make output a string or an object with a string 'text'")
        return self


class Flow(Part):
    """A flow at ``path`` (``org/project/slug``) with published versions 1 to ``versions``, and standing orders.

    A step may ask for tools ``max_tool_rounds`` times; one time more is TOOL_ITERATION_LIMIT. Without ``snapshots``
    its runs cannot be replayed from their session. ``outlives_caller`` is whether an ``/execute`` goes on when its caller
    hangs up.
    """

    path: str = Field(pattern=rf"^{SLUG}/{SLUG}/{SLUG}$")
    versions: int = Field(default=9, ge=1)
    steps: tuple[Step, ...] = Field(validation_alias="step", min_length=1)
    orders: tuple[Order, ...] = Field(default=(), validation_alias="order")
    max_tool_rounds: int = Field(default=25, ge=1, le=MAX_ROUNDS)
    snapshots: bool = True
    outlives_caller: bool = True

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="after")
    def _distinct_steps(self) -> Self:
        seen: set[str] = set()
        for step in self.steps:
            if step.id in seen:
                raise ValueError(f"two steps are called {step.id!r}; give each its own id")
            seen.add(step.id)
        return self

    @property
    def flow_id(self) -> str:
        """The flow's UUID, the same at every start."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"noukai:{self.path}"))

    @property
    def takes_tools(self) -> bool:
        """Whether any step may ask for a tool."""
        return any(step.tool_rounds for step in self.steps)

    @property
    def slug(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def steps_for(self, parameters: Mapping[str, JsonValue]) -> tuple[Step, ...]:  # noqa: ARG002 - see load_flow
        """Return the steps of a run with these ``parameters``."""
        return self.steps
