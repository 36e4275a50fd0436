"""JSON bodies: read with a cap before anything is parsed, and checked so far as HTTP is concerned."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic_core import from_json

from ..errors import InvalidRequest, PayloadTooLarge
from ..runs import RunRequest
from .refusals import Refusal

_ESCAPED = 3
_SLACK = 1 << 16

_FIELDS = (*RunRequest.model_fields, "delay", "priority")


async def submission(request: Request, limit: int) -> dict[str, Any]:
    """The fields of a run that is to be enqueued. Raises PayloadTooLarge, InvalidRequest, Refusal."""
    fields = await _escaped(request, limit, "the input")
    for name in fields:
        if name == "idempotency_key":
            raise InvalidRequest("idempotency_key: send it as the header Idempotency-Key")
        if name not in _FIELDS:
            raise InvalidRequest(f"{name}: no such field; known are {', '.join(_FIELDS)}")
    if not isinstance(fields.get("flow"), str):
        raise InvalidRequest("flow: write it as org/project/slug")
    return fields


async def tool_results(request: Request, limit: int) -> Any:
    """What is to be read as tool results. Raises PayloadTooLarge, InvalidRequest, Refusal."""
    fields = await _escaped(request, limit, "tool_results")
    if set(fields) != {"tool_results"}:
        raise InvalidRequest('send {"tool_results": [{"tool_call_id": "…", "content": "…"}]}')
    return fields["tool_results"]


async def _escaped(request: Request, limit: int, part: str) -> dict[str, Any]:
    # Escaped (\u00e9) a body may be three times what is kept of it, which has the exact limit.
    try:
        return await json_object(request, _ESCAPED * limit + _SLACK)
    except PayloadTooLarge as error:
        raise PayloadTooLarge(error.size, limit, part) from None


async def json_object(request: Request, limit: int) -> dict[str, Any]:
    """A request's JSON object of at most `limit` bytes. Raises PayloadTooLarge, Refusal."""
    # A page of another origin can send a form to a server on this machine, but not this type, without asking first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "unsupported_media_type", "send JSON, with Content-Type: application/json")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise PayloadTooLarge(int(announced), limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise PayloadTooLarge(len(body), limit)
    try:
        fields = from_json(bytes(body), allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(400, "invalid_json", f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise Refusal(400, "invalid_json", "the body must be a JSON object")
    return fields
