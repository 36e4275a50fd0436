"""Tool results: from what callers write to what the service takes (WIRE 3.2), held against the tool calls that wait. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from ..errors import InvalidRequest, PayloadTooLarge

ToolResults = Sequence[Mapping[str, Any]] | Mapping[str, Any]
"""One object for each call, with `tool_call_id` and `content`; or an object of contents by id."""

_IDS = ("tool_call_id", "toolCallId")
_CONTENTS = ("content", "output")


def read(given: object, limit: int) -> list[dict[str, Any]]:
    """Results as the service takes them: `{"role": "tool", "toolCallId": id, "content": text}` and what else they say.

    `toolCallId` and `output` are taken for `tool_call_id` and `content`, as the service does; content that is no text is sent as
    JSON. Raises InvalidRequest, PayloadTooLarge over `limit` bytes of JSON.
    """
    if isinstance(given, Mapping):
        given = [{"tool_call_id": name, "content": content} for name, content in given.items()]
    if not isinstance(given, Sequence) or isinstance(given, str | bytes | bytearray):
        raise InvalidRequest('tool_results: pass a list of {"tool_call_id", "content"}, or an object of contents by id')
    results = [_read_one(one, f"tool_results[{n}]") for n, one in enumerate(given)]
    ids = [result["toolCallId"] for result in results]
    for n, name in enumerate(ids):
        if name in ids[:n]:
            raise InvalidRequest(f"tool_results[{n}]: {name} is answered twice")
    size = len(_json(results, "tool_results").encode())
    if size > limit:
        raise PayloadTooLarge(size, limit, "tool_results")
    return results


def fitted(results: Sequence[dict[str, Any]], calls: Sequence[Any]) -> list[dict[str, Any]]:
    """The results in the order of the tool calls that wait. Raises InvalidRequest if one is not answered, or was not asked."""
    waiting = [call["id"] for call in calls if isinstance(call, Mapping) and isinstance(call.get("id"), str)]
    if not waiting:  # the service did not say (WIRE 3.4); it will tell what does not fit
        return list(results)
    answers = {result["toolCallId"]: result for result in results}
    if strange := [name for name in answers if name not in waiting]:
        raise InvalidRequest(
            f"tool_results: nobody asked for {', '.join(strange)}; the run waits for {', '.join(waiting)}"
        )
    if missing := [name for name in waiting if name not in answers]:
        raise InvalidRequest(f"tool_results: no result for {', '.join(missing)}; answer all calls at once")
    return [answers[name] for name in dict.fromkeys(waiting)]


def _read_one(given: object, place: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidRequest(f'{place}: write it as {{"tool_call_id", "content"}}')
    name = _member(given, _IDS, place)
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"{place}: tool_call_id is the id of the call that it answers, as text")
    if given.get("role", "tool") != "tool":
        raise InvalidRequest(f'{place}: its role is "tool"')
    content = _member(given, _CONTENTS, place)
    rest = {str(key): value for key, value in given.items() if key not in ("role", *_IDS, *_CONTENTS)}
    text = content if isinstance(content, str) else _json(content, place)
    result = {"role": "tool", "toolCallId": name, "content": text, **rest}
    _json(result, place)
    return result


def _member(given: Mapping[str, Any], names: tuple[str, str], place: str) -> Any:
    found = [name for name in names if name in given]
    if len(found) != 1:
        raise InvalidRequest(f"{place}: {'give only one of' if found else 'it needs'} {names[0]} or {names[1]}")
    return given[found[0]]


def _json(value: object, place: str) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        from_json(text)  # nested deeper than can be read back, for one
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"{place}: it cannot be written as JSON ({error}): pass plain JSON values") from None
    return text
