"""This room holds sessions as a caller sees them, to be looked into."""

from __future__ import annotations

from typing import Any

from noukai_sdk._config import limit
from noukai_sdk._drive import arun, run
from noukai_sdk._drive.effects import AsyncConnection, SyncConnection
from noukai_sdk._models.sessions import SessionRecord
from noukai_sdk._protocol.sessions import is_session_id, read_record
from noukai_sdk._transport import Connection


class _Session:
    def __init__(self, connection: Connection[Any], session_id: str) -> None:
        if not is_session_id(session_id):
            raise ValueError(f"session_id {session_id!r} is not a UUID, and only sessions named by one are kept")
        self._connection = connection
        self._session_id = session_id

    @property
    def session_id(self) -> str:
        return self._session_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session_id!r})"


class Session(_Session):
    """What was run under one session id, by whoever has the same key. Made by `Noukai.session()`."""

    _connection: SyncConnection

    def read(self, *, timeout: float | None = None) -> SessionRecord:
        """What the service has recorded so far (WIRE.md 5.5). `timeout` is in seconds and bounds silence.

        Raises SessionNotFoundError if nothing was run under this id, SessionExpiredError if the record is gone,
        PermissionDeniedError if it is another project's, APIResponseError for an answer that is no record, NoukaiError.
        """
        conversation = read_record(self._session_id, limit(timeout), self._connection.config.max_retries)
        return run(conversation, self._connection)


class AsyncSession(_Session):
    """The same for `AsyncNoukai`."""

    _connection: AsyncConnection

    async def read(self, *, timeout: float | None = None) -> SessionRecord:  # noqa: ASYNC109 -- as in the other rooms
        """As `Session.read`."""
        conversation = read_record(self._session_id, limit(timeout), self._connection.config.max_retries)
        return await arun(conversation, self._connection)
