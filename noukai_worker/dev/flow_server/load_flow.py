"""A flow that is steered by the parameters of its runs, for load tests."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from .answers import Refusal
from .flows import Burst, Flow, Seconds, Step, Tokens


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
