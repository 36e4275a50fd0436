"""This room settles how a client is set up: key, base URL, defaults (WIRE.md 1)."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from noukai_sdk._errors import AuthenticationError
from noukai_sdk._protocol.paths import name

if TYPE_CHECKING:
    from noukai_sdk._spans import Spans

LogHandler = Callable[[dict[str, Any]], None]

DEFAULT_TIMEOUT_SECONDS = 300.0
DEFAULT_MAX_RETRIES = 1
API_VERSION = "2026-05-31"
# Streams hold a connection each, for minutes: there is room for many, and a wait for a free one is the exception (WIRE.md 8.12).
DEFAULT_MAX_CONNECTIONS = 1000
# Sockets cannot wait longer than 2**31 milliseconds.
_LONGEST_SECONDS = 14 * 24 * 3600
_PRODUCTION = "https://api.noukai.dev/api/v1"
_LOCAL = "http://localhost:8080/api/v1"
_BASE_URLS = {"production": _PRODUCTION, "dev": _LOCAL, "development": _LOCAL}


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a client, checked. `timeout` and `pool_timeout` in seconds; None for the latter means the former."""

    api_key: str = field(repr=False)
    base_url: str
    org: str | None
    project: str | None
    session_id: str | None
    timeout: float
    max_retries: int
    log_handler: LogHandler | None
    log_payloads: bool
    max_connections: int | None
    pool_timeout: float | None
    telemetry: Spans | None = None

    @property
    def defaults(self) -> tuple[str, str] | None:
        return None if self.org is None or self.project is None else (self.org, self.project)

    @classmethod
    def of(
        cls,
        *,
        api_key: str | None,
        env: str | None,
        base_url: str | None,
        org: str | None,
        project: str | None,
        session_id: str | None,
        timeout: float | None,
        max_retries: int | None,
        log_handler: LogHandler | None,
        log_payloads: bool,
        max_connections: int | None,
        pool_timeout: float | None,
        telemetry: Spans | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Config:
        """Raises AuthenticationError for an unusable key, ValueError for everything else."""
        if (org is None) != (project is None):
            raise ValueError("org and project go together: pass both, or neither")
        return cls(
            api_key=_key(api_key or environ.get("NOUKAI_API_KEY")),
            base_url=_base_url(base_url, env, environ),
            org=None if org is None else name(org, "org"),
            project=None if project is None else name(project, "project"),
            session_id=checked_session_id(session_id),
            timeout=DEFAULT_TIMEOUT_SECONDS if timeout is None else seconds(timeout, "timeout"),
            max_retries=DEFAULT_MAX_RETRIES if max_retries is None else count(max_retries, "max_retries"),
            log_handler=log_handler,
            log_payloads=log_payloads,
            max_connections=None if max_connections is None else _at_least_one(max_connections),
            pool_timeout=None if pool_timeout is None else seconds(pool_timeout, "pool_timeout"),
            telemetry=telemetry,
        )


def seconds(value: object, what: str) -> float:
    """A duration in seconds from 0 on; beyond two weeks, infinity included, two weeks. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value < 0:
        raise ValueError(f"{what} must be a number of seconds from 0 on, not {value!r}")
    return float(min(value, _LONGEST_SECONDS))


def limit(timeout: float | None) -> float | None:
    """A timeout in seconds, if there is one. Raises ValueError."""
    return None if timeout is None else seconds(timeout, "timeout")


def count(value: object, what: str) -> int:
    """A whole number from 0 on. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{what} must be a whole number from 0 on, not {value!r}")
    return value


def _at_least_one(max_connections: object) -> int:
    if count(max_connections, "max_connections") == 0:
        raise ValueError("max_connections must be 1 or more: with 0 nothing could ever be sent")
    return count(max_connections, "max_connections")


def checked_session_id(session_id: object) -> str | None:
    """A session id that fits in a header. Raises ValueError."""
    if session_id is None:
        return None
    if isinstance(session_id, str) and session_id.isascii() and session_id.isprintable():
        return session_id
    raise ValueError(f"session_id {session_id!r} cannot be sent in a header; use printable ASCII")


def replay_enabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether NOUKAI_REPLAY_ENABLED allows scopes to play sessions back; looked at each time."""
    return environ.get("NOUKAI_REPLAY_ENABLED", "").strip().lower() in {"1", "true", "yes", "on"}


def is_loopback(host: str | None) -> bool:
    """Whether requests to `host` stay on this machine."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _key(api_key: object) -> str:
    if not api_key:
        raise AuthenticationError("no API key: pass api_key=, or set NOUKAI_API_KEY", sent=False)
    if not isinstance(api_key, str) or not api_key.startswith("nk_"):
        raise AuthenticationError("this is not an API key: keys start with nk_", sent=False)
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise AuthenticationError("the API key holds spaces or control characters; copy it again", sent=False)
    return api_key


def _base_url(base_url: str | None, env: str | None, environ: Mapping[str, str]) -> str:
    if base_url:
        return _checked_url(base_url, "base_url")
    if env:
        return _environment(env, "env")
    if from_environ := environ.get("NOUKAI_BASE_URL"):
        return _checked_url(from_environ, "NOUKAI_BASE_URL")
    return _environment(environ.get("NOUKAI_ENV") or "production", "NOUKAI_ENV")


def _environment(env: str, what: str) -> str:
    if env not in _BASE_URLS:
        raise ValueError(f'{what} {env!r} is unknown; use "production" or "dev", or base_url= for another server')
    return _BASE_URLS[env]


def _checked_url(url: str, what: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{what} {url!r} is not a URL: {error}") from error
    if not host or parts.query or parts.fragment or "@" in parts.netloc or not url.isascii() or not url.isprintable():
        raise ValueError(f"{what} must look like https://host/api/v1, without query, fragment or user")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError(f"{what} {url!r} must use https; http is for this machine only, as it would show the key")
    return url.rstrip("/")
