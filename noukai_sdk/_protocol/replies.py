"""This room reads replies: a status that means failure becomes a typed error (WIRE.md 2.1 to 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from noukai_sdk._errors import (
    APIResponseError,
    AuthenticationError,
    FlowExecutionError,
    FlowNotFoundError,
    InsufficientCreditsError,
    NoukaiError,
    PermissionDeniedError,
    RateLimitError,
)
from noukai_sdk._json import decode, decode_leniently
from noukai_sdk._models.causes import code_and_message
from noukai_sdk._models.lenient import Lenient
from noukai_sdk._protocol.effects import Reply

L = TypeVar("L", bound=Lenient)

_ERRORS: dict[int, type[NoukaiError]] = {
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: FlowNotFoundError,
    429: RateLimitError,
}


def json_object(reply: Reply) -> dict[str, Any]:
    """The object in a 2xx reply. Raises APIResponseError if there is none."""
    body = _parsed(reply)
    if not isinstance(body, dict):
        raise odd_reply(reply, "is not a JSON object")
    return body


def object_in(reply: Reply, model: type[L], what: str) -> L:
    """The typed object in a 2xx reply. Raises APIResponseError if the body is not `what` it should be."""
    try:
        return model.from_wire(json_object(reply))
    except ValidationError as error:
        fields = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}))
        raise odd_reply(reply, f"is not {what} (see {fields})") from error


def odd_reply(reply: Reply, problem: str) -> APIResponseError:
    body = _parsed(reply)
    return APIResponseError(
        f"HTTP {reply.status}, but the body {problem}; is the base URL that of the API?",
        status_code=reply.status,
        execution_id=_execution_id(body),
        request_id=reply.headers.get("x-request-id"),
        response_body=body,
    )


def error_from(reply: Reply) -> NoukaiError | None:
    """The error a reply stands for, None for 2xx."""
    status = reply.status
    if 200 <= status < 300:
        return None
    body = _parsed(reply)
    code, message = _detail(body)
    attributes: dict[str, Any] = {
        "status_code": status,
        "code": code,
        "execution_id": _execution_id(body),
        "request_id": reply.headers.get("x-request-id"),
        "response_body": body,
    }
    if status < 400:
        target = reply.headers.get("location", "nowhere")
        return APIResponseError(f"HTTP {status}: redirected to {target}; set base_url to the API itself", **attributes)
    if status in {429, 503}:
        attributes["retry_after"] = retry_after(reply)
    if status == 401:
        attributes["www_authenticate"] = reply.headers.get("www-authenticate")
    return _ERRORS.get(status, FlowExecutionError)(message or f"HTTP {status}", **attributes)


def retry_after(reply: Reply) -> float | None:
    """Seconds to wait as the server asks: a number or an HTTP date (RFC 9110 section 10.2.3); None if it does not."""
    text = reply.headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - reply.received_at
        except (ValueError, OverflowError):
            return None
        return max(seconds, 0.0)
    # Also turns away "nan" and "inf", which float() takes.
    return seconds if 0 <= seconds < float("inf") else None


def _parsed(reply: Reply) -> Any:
    body = reply.body or b""
    try:
        return decode(body)
    except ValueError:
        pass
    try:
        return decode_leniently(body)
    except ValueError:
        return None


def _detail(body: Any) -> tuple[str | None, str]:
    detail = body.get("detail") if isinstance(body, Mapping) else None
    return code_and_message(detail if isinstance(detail, Mapping | str) else None if body is None else str(body))


def _execution_id(body: Any) -> str | None:
    if not isinstance(body, Mapping):
        return None
    detail = body.get("detail")
    for place in (detail, body):
        if isinstance(place, Mapping):
            for key in ("executionId", "execution_id"):
                if isinstance(place.get(key), str):
                    return str(place[key])
    return None
