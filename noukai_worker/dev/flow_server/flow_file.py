"""Flows from a file: TOML, one ``[[flow]]`` each, with its ``[[flow.step]]`` in order.

::

    [[flow]]
    path = "acme/demo/review"            # org/project/slug
    versions = 3                         # published versions v1 to v3 (default 9)

    [[flow.step]]
    id = "draft"
    name = "Draft"                       # default: the id
    input = "Write about {message} in a {parameters.tone} tone"    # shown as step_input
    output = "A draft: {input}"          # text, or any table or list; default "{input}"
    delay = 0.2                          # seconds before the first output
    chunks = { words = 2, delay = 0.05 } # stream the text, two words every 50 ms
    tokens = { prompt = 12, completion = 80 }    # default: counted words
    cost_usd = "0.0005"                  # default: made from the tokens

    [[flow.step]]
    id = "check"
    output = { text = "{previous}", verdict = "{tools}" }
    tool_rounds = [[{ name = "look_up", arguments = { word = "{message}" } }]]    # asked for if the caller offers it
    failure = { times = 2, code = "MODEL_OVERLOADED", message = "Busy." }         # or probability = 0.1
    burst = { events = 100, interval = 0.01, bytes = 180 }                        # numbered frames, for load tests

    [[flow.order]]                       # trouble from the start: the orders of POST /_control/manners
    times = 1
    manner = { status = 429, retry_after = 2 }

Placeholders are described in `templates`, every field in `flows` (loops, gates and limits too), manners in `manners`; an
example with everything is in docs/flow-server.md.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import FlowFileError
from .flows import Flow


class _FlowFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    flow: tuple[Flow, ...] = Field(min_length=1)


def load_flows(path: str | os.PathLike[str]) -> dict[str, Flow]:
    """Return the flows in the TOML file at ``path``, by their path; raise `FlowFileError` with place and remedy."""
    name = os.fspath(path)
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise FlowFileError(name, "", f"cannot be read ({exc.strerror}); check the path given as --flows") from None
    except UnicodeDecodeError as exc:
        raise FlowFileError(name, f"byte {exc.start}", "is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as exc:
        raise FlowFileError(name, "", f"is not TOML: {exc}") from None
    try:
        flows = _FlowFile.model_validate(content).flow
    except ValidationError as exc:
        raise _explained(name, exc) from None
    by_path: dict[str, Flow] = {}
    for number, flow in enumerate(flows):
        if flow.path in by_path:
            raise FlowFileError(name, f"flow[{number}].path", f"{flow.path} is defined twice; remove one")
        by_path[flow.path] = flow
    return by_path


_REMEDIES = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a known field; remove it or correct its spelling",
    "too_short": "is empty; give at least one",
}


def _explained(name: str, exc: ValidationError) -> FlowFileError:
    first = exc.errors(include_url=False)[0]
    place = ""
    for part in first["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    value = repr(first["input"])
    problem = _REMEDIES.get(first["type"])
    if problem is None:
        problem = first["msg"].removeprefix("Value error, ")
        if not isinstance(first["input"], dict | list) and len(value) <= 80:
            problem += f", not {value}"
    return FlowFileError(name, place.removeprefix("."), problem)
