"""Tool calls: what the caller offers, what a step asks for, and whether the results answer it (WIRE.md 3.2)."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import JsonValue

from .answers import Refusal
from .calls import JsonObject
from .flows import ToolCall
from .runs import Pause, Run
from .templates import fill, text_of

MAX_TOOLS = 64
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools a caller can run: name → JSON schema of the arguments. ``forced`` is the one it insists on."""

    schemas: Mapping[str, Mapping[str, Any]]
    forced: str | None = None

    @classmethod
    def parse(cls, tools: Sequence[JsonValue], choice: JsonValue) -> Self:
        """Return the offer in a body; raise `Refusal` 400 for malformed tools."""
        if len(tools) > MAX_TOOLS:
            raise _invalid(f"{len(tools)} tools; at most {MAX_TOOLS} are taken")
        schemas: dict[str, Mapping[str, Any]] = {}
        for tool in tools:
            function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
            name = function.get("name") if isinstance(function, dict) else None
            if not isinstance(function, dict) or not isinstance(name, str):
                raise _invalid("each must be {'type': 'function', 'function': {'name': …, 'parameters': {…}}}")
            if not _NAME.fullmatch(name):
                raise Refusal(400, "TOOL_NAME_INVALID", f"Tool name {name!r}: use 1 to 64 letters, digits, '_' or '-'.")
            schema = function.get("parameters") or {}
            if not isinstance(schema, dict):
                raise _invalid(f"'parameters' of {name} must be a JSON schema")
            if name in schemas:
                raise _invalid(f"{name} is offered twice")
            schemas[name] = schema
        return cls._choose(schemas, choice)

    @classmethod
    def _choose(cls, schemas: Mapping[str, Mapping[str, Any]], choice: JsonValue) -> Self:
        if choice in (None, "auto", "required"):
            return cls(schemas)
        if choice == "none":
            return cls({})
        function = choice.get("function") if isinstance(choice, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or name not in schemas:
            raise _invalid("'toolChoice' must be 'auto', 'none', 'required' or the {'function': {'name': …}} of a tool")
        return cls(schemas, forced=name)

    def names(self, round_: Sequence[ToolCall], position: int) -> list[tuple[ToolCall, str]]:
        """Return the calls of one round that the caller can answer, each with the name of its tool.

        A call without a name takes the forced tool, else the tool at ``position`` (the round's number), else the last.
        """
        offered = list(self.schemas)
        if not offered:
            return []
        standard = self.forced or offered[min(position, len(offered) - 1)]
        return [(call, name) for call in round_ if (name := call.name or standard) in self.schemas]

    def calls(self, round_: Sequence[ToolCall], position: int, values: Mapping[str, JsonValue]) -> list[JsonObject]:
        """Return the wire form of one round's calls; those whose tool is not offered are left out."""
        calls: list[JsonObject] = []
        for wanted, name in self.names(round_, position):
            arguments = wanted.arguments
            filled = _made_up(self.schemas[name], values) if arguments is None else fill(dict(arguments), values)
            calls.append(
                {
                    "id": f"call_{uuid.uuid4().hex[:24]}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(filled, ensure_ascii=False)},
                }
            )
        return calls


@dataclass(frozen=True, slots=True)
class ToolTurn:
    """A caller's return with tool results: the conversation so far, what the tools said, the pause they answer."""

    messages: list[JsonObject]
    results: str
    pause: Pause

    @classmethod
    def parse(cls, messages: list[JsonObject], run: Run, step_id: str) -> Self:
        """Return the turn that answers a pause of ``run`` at ``step_id``.

        Raise `Refusal` 400 PAUSED_STEP_INVALID if there is no open pause (each is answered once), 400
        TOOL_RESULTS_MISMATCH unless each call of the last round has a result, and nothing else has.
        """
        pauses = [pause for pause in run.pauses if pause.step_id == step_id]
        if not pauses:
            raise Refusal(
                400,
                "PAUSED_STEP_INVALID",
                f"The run is not waiting for tool results at step {step_id!r}. Each pause is answered once; look at "
                "the run's trace for what became of the first answer.",
            )
        asked, known, answers = _read(messages)
        if not asked:
            raise _mismatch("there is no assistant turn with toolCalls; send back the server's list, results appended")
        pause = next((pause for pause in pauses if pause.call_ids == asked), None)
        if pause is None:
            raise _mismatch(
                f"step {step_id!r} is not waiting for {', '.join(sorted(asked))}; each pause is answered once"
            )
        if missing := sorted(asked - answers.keys()):
            raise _mismatch(f"no result for {', '.join(missing)}")
        if strange := sorted(answers.keys() - known):
            raise _mismatch(f"nobody asked for {', '.join(strange)}")
        return cls(messages, ", ".join(answers.values()), pause)


def _read(messages: list[JsonObject]) -> tuple[set[str], set[str], dict[str, str]]:
    """Return the calls of the last assistant turn that has any, those of all turns, and the results by call."""
    asked: set[str] = set()
    known: set[str] = set()
    answers: dict[str, str] = {}
    for message in messages:
        calls = message.get("toolCalls", message.get("tool_calls"))
        if isinstance(calls, list) and calls:
            asked = {str(call.get("id")) for call in calls if isinstance(call, dict)}
            known |= asked
        answered = message.get("toolCallId", message.get("tool_call_id"))
        if message.get("role", "tool") == "tool" and isinstance(answered, str):
            answers[answered] = text_of(message.get("content", message.get("output")))
    return asked, known, answers


def _made_up(schema: Mapping[str, Any], values: Mapping[str, JsonValue]) -> JsonObject:
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, dict):
        return {}
    wanted = required if isinstance(required, list) else list(properties)
    return {name: _made_up_value(properties[name], values) for name in wanted if name in properties}


def _made_up_value(schema: Any, values: Mapping[str, JsonValue]) -> JsonValue:
    if not isinstance(schema, dict):
        return text_of(values.get("message"))
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        choice: JsonValue = schema["enum"][0]
        return choice
    match schema.get("type"):
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return _made_up(schema, values)
        case _:
            return text_of(values.get("message"))


def _invalid(problem: str) -> Refusal:
    return Refusal(400, "TOOLS_INVALID", f"Tools: {problem}.")


def _mismatch(problem: str) -> Refusal:
    return Refusal(400, "TOOL_RESULTS_MISMATCH", f"Tool results: {problem}.")
