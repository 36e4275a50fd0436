"""This room settles which session a call belongs to, and whether a recording answers it (WIRE.md 6.9)."""

from __future__ import annotations

from dataclasses import dataclass

from noukai_sdk._errors import ReplayMissError
from noukai_sdk._protocol.cassette import Cassette
from noukai_sdk._scope import current_scope, current_session_id


@dataclass(frozen=True, slots=True)
class CallSession:
    """What is known of a call's session when the call is prepared; the scope is looked up when it starts.

    `given` is the call's own argument, `default` the client's; both go before the scope. "" stands for no session.
    """

    flow: tuple[str, ...]
    given: str | None
    default: str | None

    @property
    def id(self) -> str | None:
        """The session in force now, None for none."""
        for session_id in (self.given, self.default):
            if session_id is not None:
                return session_id or None
        return current_session_id()

    @property
    def cassette(self) -> Cassette | None:
        """What answers the call instead of the service, if the caller is in a replaying scope."""
        scope = current_scope()
        return None if scope is None or not self.flow else scope.cassette

    def refuse_replay(self, call: str) -> None:
        """Raises ReplayMissError in a replaying scope, for a call that recordings cannot answer, and that would cost."""
        if self.cassette is not None:
            raise ReplayMissError(
                f"{call} cannot be played back; use execute(), steps() or events() in a session that is to be replayed",
                sent=False,
            )


# For calls that sessions have nothing to do with, such as those to a relay.
NO_SESSION = CallSession((), "", None)
