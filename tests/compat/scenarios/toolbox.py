"""Tools that a caller offers, and answers."""

from __future__ import annotations

import json
from typing import Any


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": f"The {name}.", "parameters": {}}}


TOOLS = [tool("weather"), tool("clock")]


def answers(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a handler returns: each call's name and argument, as text."""
    return [{"role": "tool", "toolCallId": call["id"], "content": said(call)} for call in calls]


def said(call: dict[str, Any]) -> str:
    function = call["function"]
    return f"{function['name']} {json.loads(function['arguments']).get('place', '')}".strip()


class Watched:
    """A handler that remembers what it was asked."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []

    def __call__(self, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.rounds.append([said(call) for call in calls])
        return answers(calls)
