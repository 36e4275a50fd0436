"""A Redis URL in Celery's words: kombu and Celery's backends write Sentinels, sockets and TLS in ways of their own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

from ..redis_url import Kind, RedisUrl

_REQUIRED = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


@dataclass(frozen=True, slots=True)
class Place:
    """What Celery is told of a broker or a result backend. `url` is None if there is none."""

    url: str | None = field(repr=False)
    redis: bool = False
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    """Transport options that the URL cannot say."""
    tls: dict[str, Any] | None = None
    """For `broker_use_ssl` and `redis_backend_use_ssl`."""

    @classmethod
    def of(cls, url: str | None) -> Self:
        """The place that a URL names; one that is not of Redis is left as it is."""
        if not url or not url.startswith(("redis", "unix")):
            return cls(url)
        place = RedisUrl.parse(url)
        if place.kind is Kind.SENTINEL:
            return cls(_sentinels(place), True, _primary(place), _tls(place))
        if not place.nodes:
            return cls(f"redis+socket://{place.credentials}{place.path}?virtual_host={place.db}", True)
        if not place.tls:
            return cls(url, True)
        # Celery refuses a rediss:// that does not say how certificates are checked; kombu would not check them.
        bare, _, _ = url.partition("?")
        return cls(f"{bare}?{urlencode(dict(place.options) | place.tls_options)}", True)


def _sentinels(place: RedisUrl) -> str:
    return ";".join(
        f"sentinel://{place.credentials}{f'[{host}]' if ':' in host else host}:{port}/{place.db}"
        for host, port in place.nodes
    )


def _primary(place: RedisUrl) -> dict[str, Any]:
    return {"master_name": place.primary, "sentinel_kwargs": place.sentinels_own | (_tls(place, "ssl") or {})}


def _tls(place: RedisUrl, *flags: str) -> dict[str, Any] | None:
    if not place.tls:
        return None
    options: dict[str, Any] = dict(place.tls_options)
    options["ssl_cert_reqs"] = _REQUIRED[options["ssl_cert_reqs"]]
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() not in ("false", "no", "0")
    return options | dict.fromkeys(flags, True)
