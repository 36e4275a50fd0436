"""What the URL of a Redis says: one server, a primary that Sentinels know, or a cluster; with or without TLS. No I/O.

    redis://[user:password@]host[:port][/db]                    one server; rediss:// with TLS, unix:///path for a socket
    redis-sentinel://[user:password@]host[:port][,…][/db]#name  the primary `name`, asked of these Sentinels
    redis-cluster://[user:password@]host[:port][,…]             the cluster that these nodes belong to

`rediss-sentinel://` and `rediss-cluster://` are these with TLS. Options follow a `?` and are redis-py's (`ssl_ca_certs=…`); user
and password are percent-encoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Self
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from .errors import InvalidRequest

FORMS = (
    "redis://host:6379/0 (rediss:// with TLS), unix:///path, redis-sentinel://host:26379,host:26379/0#primary, "
    "or redis-cluster://host:6379,host:6379"
)
_SCHEME = re.compile(r"(?P<plain>rediss?|unix)(-(?P<kind>sentinel|cluster))?")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]@/\s]+)(:(\d{1,5}))?")
_SENTINELS_OWN = ("sentinel_username", "sentinel_password")


class Kind(Enum):
    """What is at the other end."""

    SINGLE = "single"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL, taken apart. `nodes` are the hosts and ports to begin with; none for a socket."""

    url: str = field(repr=False)
    kind: Kind
    nodes: tuple[tuple[str, int], ...]
    primary: str
    """Sentinel's name for it; empty for the other kinds."""
    options: tuple[tuple[str, str], ...] = field(repr=False)
    _parts: SplitResult = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart. Raises InvalidRequest, which never shows the URL: there may be a password in it."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise InvalidRequest(f"write it as {FORMS}") from None
        scheme = _SCHEME.fullmatch(parts.scheme)
        if not scheme or (scheme["plain"] == "unix" and scheme["kind"]):
            raise InvalidRequest(f"write it as {FORMS}")
        kind = Kind(scheme["kind"] or "single")
        nodes = () if scheme["plain"] == "unix" else _nodes(parts, kind)
        if not nodes and not parts.path.strip("/"):
            raise InvalidRequest("name the socket: unix:///run/redis/redis.sock")
        if kind is Kind.SENTINEL and not parts.fragment:
            raise InvalidRequest("name the primary as the Sentinels do: redis-sentinel://host:26379/0#primary")
        if kind is Kind.CLUSTER and parts.path.strip("/") not in ("", "0"):
            raise InvalidRequest("a cluster has no databases: leave out what follows the hosts")
        if kind is not Kind.SENTINEL and parts.fragment:
            raise InvalidRequest("a # and a name are for redis-sentinel:// (write %23 for a # in a password)")
        if nodes and not re.fullmatch(r"/?\d*", parts.path):
            raise InvalidRequest("the database is a number: redis://host:6379/0")
        options = tuple(parse_qsl(parts.query))
        if dict(options).get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
            raise InvalidRequest("ssl_cert_reqs is required, optional or none")
        if any(name.startswith("ssl_") for name, _ in options) and scheme["plain"] != "rediss":
            raise InvalidRequest(
                "options that begin with ssl_ are for rediss://, rediss-sentinel:// and rediss-cluster://"
            )
        return cls(url, kind, nodes, parts.fragment, options, parts)

    @property
    def shown(self) -> str:
        """The URL as it may be shown: without user, password and options."""
        return address(self.url)

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self._parts.scheme.startswith("rediss")

    @property
    def db(self) -> int:
        """The database; 0 if none is named."""
        return int(self._parts.path.strip("/") or 0) if self.nodes else int(dict(self.options).get("db", 0))

    @property
    def path(self) -> str:
        """Of a socket."""
        return self._parts.path

    @property
    def credentials(self) -> str:
        """What stands before the host, percent-encoded, with its @; or nothing."""
        user, at, _ = self._parts.netloc.rpartition("@")
        return user + at

    @property
    def tls_options(self) -> dict[str, str]:
        """The options that concern TLS; certificates are checked unless they say otherwise."""
        if not self.tls:
            return {}
        return {"ssl_cert_reqs": "required"} | {name: value for name, value in self.options if name.startswith("ssl_")}

    @property
    def sentinels_own(self) -> dict[str, str]:
        """User and password of the Sentinels themselves, if they ask for any."""
        return {name.removeprefix("sentinel_"): value for name, value in self.options if name in _SENTINELS_OWN}

    def server(self, host: str, port: int) -> str:
        """The URL of one server behind this one, as redis-py takes it: with user, password and options."""
        if self.kind is Kind.SINGLE:
            return self.url
        query = urlencode([(name, value) for name, value in self.options if name not in _SENTINELS_OWN])
        scheme = "rediss" if self.tls else "redis"
        host = f"[{host}]" if ":" in host else host
        return urlunsplit((scheme, f"{self.credentials}{host}:{port}", f"/{self.db}", query, ""))


def address(url: str) -> str:
    """Any URL as it may be shown: without user, password and options."""
    parts = urlsplit(url)
    named = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{named}#{parts.fragment}" if parts.fragment else named


def _nodes(parts: SplitResult, kind: Kind) -> tuple[tuple[str, int], ...]:
    port = 26379 if kind is Kind.SENTINEL else 6379
    named = parts.netloc.rpartition("@")[2]
    if kind is Kind.SINGLE and not named:
        return (("localhost", port),)
    nodes = []
    for one in named.split(","):
        found = _HOST.fullmatch(one)
        if not found or int(found[3] or port) not in range(1, 65_536):
            raise InvalidRequest(
                f"write hosts as host:port{'' if kind is Kind.SINGLE else ', with commas between them'}"
                " (in a user or password, write %40 for @ and %2F for /)"
            )
        nodes.append((found[1].strip("[]"), int(found[3] or port)))
    if kind is Kind.SINGLE and len(nodes) > 1:
        raise InvalidRequest("several hosts are a redis-cluster:// or a redis-sentinel://")
    return tuple(nodes)
