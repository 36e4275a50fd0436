"""Redis URLs: what they say, what is refused, and what is shown of them."""

from __future__ import annotations

import pytest

from noukai_worker.errors import InvalidRequest
from noukai_worker.redis_url import Kind, RedisUrl


@pytest.mark.parametrize(
    ("url", "kind", "nodes", "db"),
    [
        ("redis://h", Kind.SINGLE, (("h", 6379),), 0),
        ("redis://:p@h:1/3", Kind.SINGLE, (("h", 1),), 3),
        ("rediss://[::1]:1/0", Kind.SINGLE, (("::1", 1),), 0),
        ("unix:///tmp/redis?db=2", Kind.SINGLE, (), 2),
        ("redis-cluster://u:p%40@a:1,b", Kind.CLUSTER, (("a", 1), ("b", 6379)), 0),
        ("rediss-cluster://[::1]:1,[::2]:2/0", Kind.CLUSTER, (("::1", 1), ("::2", 2)), 0),
        ("redis-sentinel://a,b:2/4#main", Kind.SENTINEL, (("a", 26379), ("b", 2)), 4),
    ],
)
def test_every_form_is_understood(url: str, kind: Kind, nodes: tuple[tuple[str, int], ...], db: int) -> None:
    parsed = RedisUrl.parse(url)
    assert (parsed.kind, parsed.nodes, parsed.db, parsed.tls) == (kind, nodes, db, url.startswith("rediss"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://h", "redis-cluster://host:6379"),
        ("unix-cluster://h", "write it as"),
        ("unix://", "name the socket"),
        ("redis://h/one", "a number"),
        ("redis://a,b", "several hosts"),
        ("redis://h:70000", "host:port"),
        ("redis://h:", "host:port"),
        ("redis://u:a/b@h", "%2F"),
        ("redis-cluster://a,,b", "commas"),
        ("redis-cluster://", "commas"),
        ("redis-cluster://h/3", "no databases"),
        ("redis-sentinel://h/0", "#primary"),
        ("redis://h#x", "redis-sentinel"),
        ("redis://h?ssl_ca_certs=/ca", "rediss"),
        ("rediss://h?ssl_cert_reqs=maybe", "required, optional or none"),
        ("redis://[::1", "write it as"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_remedy(url: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        RedisUrl.parse(url)
    assert says in str(caught.value)


def test_secrets_are_not_shown() -> None:
    url = RedisUrl.parse("rediss-sentinel://u:hush@a:1,b:2/4?password=hush&sentinel_password=hush#main")
    assert url.shown == "rediss-sentinel://a:1,b:2/4#main"
    assert "hush" not in repr(url)


def test_a_server_behind_it_gets_user_password_database_and_options() -> None:
    url = RedisUrl.parse("rediss-sentinel://u:p%40@a/4?ssl_ca_certs=/ca&sentinel_username=s&sentinel_password=w#main")
    assert url.server("h", 7) == "rediss://u:p%40@h:7/4?ssl_ca_certs=%2Fca"
    assert url.sentinels_own == {"username": "s", "password": "w"}
    assert RedisUrl.parse("redis-cluster://a").server("::1", 7) == "redis://[::1]:7/0"
