"""Placeholders in a flow's texts: ``{message}``, ``{parameters.tone}``, ``{previous}``, ``{steps.draft.text}``.

A string that is one placeholder and nothing else becomes the value itself, whatever its type; inside a longer
text a value is written as text (JSON for anything but strings, nothing for a missing one). ``{{`` and ``}}`` are
literal braces. Objects and lists are filled member by member.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

#: What a placeholder may start with.
ROOTS = ("message", "parameters", "previous", "input", "steps", "tools", "loop")

_MARK = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)((?:\.[\w-]+)*)\}")


def fill(template: JsonValue, values: Mapping[str, JsonValue]) -> JsonValue:
    """Return ``template`` with its placeholders replaced from ``values`` (keyed by root)."""
    if isinstance(template, dict):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    if not isinstance(template, str):
        return template
    whole = _MARK.fullmatch(template)
    if whole is not None and whole[1]:
        return _look_up(whole[1], whole[2], values)
    return _MARK.sub(lambda mark: _as_text(mark, values), template)


def text_of(value: JsonValue) -> str:
    """Return ``value`` as it reads inside a text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def unknown_roots(template: JsonValue) -> list[str]:
    """Return the placeholders of ``template`` that could never be filled, in order."""
    if isinstance(template, dict):
        return [root for value in template.values() for root in unknown_roots(value)]
    if isinstance(template, list):
        return [root for item in template for root in unknown_roots(item)]
    if not isinstance(template, str):
        return []
    return [mark[1] for mark in _MARK.finditer(template) if mark[1] and mark[1] not in ROOTS]


def _as_text(mark: re.Match[str], values: Mapping[str, JsonValue]) -> str:
    if not mark[1]:
        return mark[0][0]
    return text_of(_look_up(mark[1], mark[2], values))


def _look_up(root: str, path: str, values: Mapping[str, JsonValue]) -> JsonValue:
    value = values.get(root)
    for part in path.split(".")[1:]:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
