"""This room decides when a request may be sent again, and does so: only where it cannot be paid twice."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from noukai_sdk._errors import APIConnectionError, APITimeoutError, NoukaiError
from noukai_sdk._protocol.effects import Effect, Reply, Send, Sleep
from noukai_sdk._protocol.replies import error_from

# A server that asks for more is told to the caller, who can do something else meanwhile.
LONGEST_WAIT_SECONDS = 60.0
_TRANSIENT = frozenset({408, 500, 502, 503, 504})


def ask(send: Send, max_retries: int) -> Generator[Effect, Any, Reply]:
    """Send until a reply is a success, or its error final; at most `max_retries` times again. Raises NoukaiError."""
    attempt = 1
    while True:
        try:
            reply: Reply = yield replace(send, attempt=attempt)
        except APIConnectionError as error:
            failure: NoukaiError | None = error
        else:
            failure = error_from(reply)
        if failure is None:
            return reply
        wait = seconds_before_retry(failure, send.method, attempt) if attempt <= max_retries else None
        if wait is None:
            raise failure
        yield Sleep(wait)
        attempt += 1


def seconds_before_retry(error: NoukaiError, method: str, attempt: int) -> float | None:
    """How long to wait before attempt + 1; None if there must not be one."""
    if not _is_safe(error, method):
        return None
    backoff = min(4.0 ** (attempt - 1), LONGEST_WAIT_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311
    if error.retry_after is None:
        return backoff
    return None if error.retry_after > LONGEST_WAIT_SECONDS else max(error.retry_after, backoff)


def _is_safe(error: NoukaiError, method: str) -> bool:
    if isinstance(error, APIConnectionError):
        # A timeout has used up its time.
        return not isinstance(error, APITimeoutError) and (not error.sent or method == "GET")
    return _is_put_off(error) or (method == "GET" and error.status_code in _TRANSIENT)


def _is_put_off(error: NoukaiError) -> bool:
    return error.status_code == 429 or (error.status_code == 503 and error.retry_after is not None)


def is_transient(error: NoukaiError) -> bool:
    """Whether asking again later may well bring another answer: no answer came, or 408, 429, 5xx."""
    status = error.status_code or 0
    return isinstance(error, APIConnectionError) or status in {408, 429} or status >= 500


def is_undone(error: NoukaiError) -> bool:
    """Whether it is certain that nothing came of a request: it was not sent, or the server refused it or put it off."""
    status = error.status_code or 0
    return not error.sent or _is_put_off(error) or (400 <= status < 500 and status != 408)
