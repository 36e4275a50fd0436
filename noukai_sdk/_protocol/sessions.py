"""This room holds the conversation about a session: what has the service recorded of it (WIRE.md 5.5)."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from noukai_sdk._errors import FlowNotFoundError, NoukaiError, SessionExpiredError, SessionNotFoundError
from noukai_sdk._models.sessions import SessionRecord
from noukai_sdk._protocol.effects import Effect, Reply, Send
from noukai_sdk._protocol.replies import json_object, odd_reply
from noukai_sdk._protocol.retry import ask

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def is_session_id(session_id: object) -> bool:
    """Whether this can name a session: the service keeps those that are named by a UUID."""
    return isinstance(session_id, str) and _UUID.fullmatch(session_id) is not None


def ask_for_session(session_id: str, timeout: float | None, max_retries: int) -> Generator[Effect, Any, Reply]:
    """The reply with the record. `timeout` in seconds, None for the client's. Raises NoukaiError."""
    return (yield from ask(Send("GET", f"/seq/sessions/{session_id}", timeout=timeout), max_retries))


def read_record(session_id: str, timeout: float | None, max_retries: int) -> Generator[Effect, Any, SessionRecord]:
    """The record. `timeout` in seconds, None for the client's.

    Raises SessionNotFoundError, SessionExpiredError, and other NoukaiErrors. Whoever finds no run in a session may pay
    for one: so what only looks like "none" is an error. A 404 counts if the service says so (with a code, WIRE.md 2.1),
    not if something in front of it does not know the path.
    """
    try:
        reply = yield from ask_for_session(session_id, timeout, max_retries)
    except NoukaiError as error:
        if isinstance(error, FlowNotFoundError) and error.code is not None:
            raise _copied(SessionNotFoundError, error) from error
        if error.status_code == 410:
            raise _copied(SessionExpiredError, error) from error
        raise
    record = json_object(reply)
    runs = record.get("executions")
    if not isinstance(runs, list) or not all(isinstance(run, dict) for run in runs):
        raise odd_reply(reply, "is not the record of a session (see executions)")
    return SessionRecord(record)


def _copied(kind: type[NoukaiError], error: NoukaiError) -> NoukaiError:
    return kind(
        error.message,
        status_code=error.status_code,
        code=error.code,
        request_id=error.request_id,
        response_body=error.response_body,
    )
