"""Sessions: which runs were made under one ``X-Session-Id``, as the cassette that clients replay (WIRE.md 5.5)."""

from __future__ import annotations

import re
from collections import OrderedDict

from .answers import Refusal
from .runs import Run

#: How many sessions are told apart; the oldest is then as if it had never been.
REMEMBERED_SESSIONS = 100_000
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Sessions:
    """The runs of each session, in start order, kept apart by API key. A session that has lost a run is pruned whole."""

    def __init__(self, limit: int = REMEMBERED_SESSIONS) -> None:
        self._limit = limit
        # session id → API key → its runs; None once they are pruned.
        self._sessions: OrderedDict[str, dict[str, list[Run] | None]] = OrderedDict()

    def add(self, run: Run) -> None:
        """Put a fresh run into its session, if it has one."""
        if run.session_id is None:
            return
        runs = self._sessions.setdefault(run.session_id.lower(), {}).setdefault(run.key, [])
        if runs is not None:
            runs.append(run)
        if len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)

    def forget(self, run: Run) -> None:
        """Prune the session of a run that is forgotten: what is left of it would look whole."""
        if run.session_id is not None and (by_key := self._sessions.get(run.session_id.lower())):
            by_key[run.key] = None

    def prune(self, session_id: str) -> bool:
        """Prune a session on order; tell whether there was one."""
        by_key = self._sessions.get(session_id.lower())
        if by_key is None:
            return False
        by_key.update(dict.fromkeys(by_key))
        return True

    def runs(self, session_id: str, key: str) -> list[Run]:
        """Return the runs; raise `Refusal` 400, 403, 404 or 410."""
        if not _UUID.fullmatch(session_id):
            raise Refusal(400, "SESSION_ID_INVALID", f"{session_id!r} is no UUID; only sessions named by one are kept.")
        by_key = self._sessions.get(session_id.lower())
        if by_key is None:
            raise Refusal(404, "SESSION_NOT_FOUND", f"Nothing was run here under the X-Session-Id {session_id}.")
        if key not in by_key:
            raise Refusal(403, "FORBIDDEN", "This session was made with another key; use that one.")
        runs = by_key[key]
        if runs is None:
            raise Refusal(410, "SESSION_EXPIRED", f"The session {session_id} has been pruned; record it anew.")
        return runs
