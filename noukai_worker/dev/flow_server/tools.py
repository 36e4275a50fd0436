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
from .runs import Run
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

    def calls(self, round_: Sequence[ToolCall], position: int, values: Mapping[str, JsonValue]) -> list[JsonObject]:
        """Return the wire form of one round's calls; those whose tool is not offered are left out.

        A call without a name takes the forced tool, else the tool at ``position`` (the round's number), else the last.
        """
        names = list(self.schemas)
        calls: list[JsonObject] = []
        for wanted in round_ if names else ():
            name = wanted.name or self.forced or names[min(position, len(names) - 1)]
            if name not in self.schemas:
                continue
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
    """A caller's return with tool results: the conversation so far, the rounds done, what the tools said."""

    messages: list[JsonObject]
    rounds: int
    results: str

    @classmethod
    def parse(cls, messages: list[JsonObject], run: Run, step_id: str) -> Self:
        """Return the turn; raise `Refusal` 400 TOOL_RESULTS_MISMATCH unless each call of the last round is answered."""
        asked, answers = _read(messages)
        if not asked:
            raise _mismatch("there is no assistant turn with toolCalls; send back the server's list, results appended")
        rounds = 0
        for call_id in asked:
            issued = run.tool_calls.get(call_id)
            if issued is None or issued[0] != step_id:
                raise _mismatch(f"this run did not make the call {call_id!r} at step {step_id!r}")
            rounds = max(rounds, issued[1] + 1)
        if missing := [call_id for call_id in asked if call_id not in answers]:
            raise _mismatch(f"no result for {', '.join(missing)}")
        if strange := [call_id for call_id in answers if call_id not in run.tool_calls]:
            raise _mismatch(f"nobody asked for {', '.join(strange)}")
        return cls(messages, rounds, ", ".join(answers.values()))


def _read(messages: list[JsonObject]) -> tuple[list[str], dict[str, str]]:
    asked: list[str] = []
    answers: dict[str, str] = {}
    for message in messages:
        calls = message.get("toolCalls", message.get("tool_calls"))
        if isinstance(calls, list) and calls:
            asked = [str(call.get("id")) for call in calls if isinstance(call, dict)]
        answered = message.get("toolCallId", message.get("tool_call_id"))
        if message.get("role", "tool") == "tool" and isinstance(answered, str):
            answers[answered] = text_of(message.get("content", message.get("output")))
    return asked, answers


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
