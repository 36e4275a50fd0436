"""Who may call: the bearer check (WIRE.md 1.2, 2.3)."""

from __future__ import annotations

from collections.abc import Iterable

from .answers import Refusal

KEY_PREFIX = "nk_"


class Keys:
    """The accepted API keys.

    With ``accepted`` empty any key that starts with ``nk_`` is good. Keys in ``broke`` are known but have no credits.
    """

    def __init__(self, accepted: Iterable[str] = (), broke: Iterable[str] = ()) -> None:
        self._accepted = frozenset(accepted)
        self._broke = frozenset(broke)

    def check(self, authorization: str | None) -> None:
        """Return for a good ``Authorization`` header; raise `Refusal` 401 or 402 otherwise."""
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise _unauthenticated("Send the header 'Authorization: Bearer nk_…'.")
        if key in self._broke:
            raise Refusal(402, "INSUFFICIENT_CREDITS", "This key's balance is used up; top it up or use another key.")
        if self._accepted and key not in self._accepted:
            raise _unauthenticated("This key is not one of those the flow server was started with (--api-key).")
        if not key.startswith(KEY_PREFIX):
            raise _unauthenticated(f"API keys start with {KEY_PREFIX!r}.")


def _unauthenticated(message: str) -> Refusal:
    return Refusal(401, "UNAUTHENTICATED", message, {"WWW-Authenticate": 'Bearer realm="noukai"'})
