"""This room turns errors of replay into the answers of an application (WIRE.md 6.9), for whatever framework."""

from __future__ import annotations

import logging

from noukai_sdk._errors import (
    ReplayError,
    ReplayForbiddenError,
    ReplayInvalidSessionError,
    ReplayNoSnapshotsError,
    ReplaySessionExpiredError,
    ReplaySessionNotFoundError,
)
from noukai_sdk._json import encode

REPLAY_HEADER = "x-noukai-replay"
SESSION_HEADER = "x-noukai-session"

_ANSWERS: dict[type[ReplayError], tuple[int, str]] = {
    ReplayInvalidSessionError: (400, "replay_invalid_session"),
    ReplayForbiddenError: (403, "replay_forbidden"),
    ReplaySessionNotFoundError: (404, "replay_session_not_found"),
    ReplayNoSnapshotsError: (409, "replay_no_snapshots"),
    ReplaySessionExpiredError: (410, "replay_session_expired"),
}
_log = logging.getLogger("noukai_sdk.adapters")


def answer(error: ReplayError) -> tuple[int, bytes]:
    """Status and JSON body."""
    status, name = _ANSWERS.get(type(error), (500, "replay_error"))
    return status, encode({"error": name, "message": error.message})


def log_leftovers(error: ReplayError) -> None:
    """For what is found out when the response is already under way."""
    _log.error("the response was sent, but the replay did not fit it: %s", error.message)
