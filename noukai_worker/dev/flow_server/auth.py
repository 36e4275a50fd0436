"""Who may call, and where: the bearer check and the project check (WIRE.md 1.2, 2.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .answers import Refusal

KEY_PREFIX = "nk_"


class Keys:
    """The accepted API keys.

    With ``accepted`` empty any key that starts with ``nk_`` is good. A key in ``projects`` is good only in the
    ``org/project`` given there.
    """

    def __init__(self, accepted: Iterable[str] = (), projects: Mapping[str, str] | None = None) -> None:
        self._accepted = frozenset(accepted)
        self._projects = dict(projects or {})

    def check(self, authorization: str | None) -> str:
        """Return the key of a good ``Authorization`` header; raise `Refusal` 401 otherwise."""
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key:
            raise _unauthenticated("Send the header 'Authorization: Bearer nk_…'.")
        if self._accepted and key not in self._accepted:
            raise _unauthenticated("This key is not one of those the flow server was started with (--api-key).")
        if not key.startswith(KEY_PREFIX):
            raise _unauthenticated(f"API keys start with {KEY_PREFIX!r}.")
        return key

    def check_project(self, key: str, project: str) -> None:
        """Raise `Refusal` 403 if ``key`` belongs to another project than ``project`` (``org/project``)."""
        own = self._projects.get(key, project)
        if own != project:
            raise Refusal(403, "FORBIDDEN", f"This key belongs to {own}, not to {project}; use a key of that project.")


def _unauthenticated(message: str) -> Refusal:
    return Refusal(401, "UNAUTHENTICATED", message, {"WWW-Authenticate": 'Bearer realm="noukai"'})
