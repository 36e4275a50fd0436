"""Settings come from the environment, name what is wrong, and never show a secret."""

from __future__ import annotations

import pytest

from noukai_worker.errors import CredentialMissing, InvalidRequest
from noukai_worker.redis_url import address
from noukai_worker.settings import Settings, adopt, current, from_environment


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOUKAI_REDIS_URL", "NOUKAI_BROKER_URL", "NOUKAI_API_KEY", "NOUKAI_ENV", "NOUKAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    from_environment.cache_clear()


def test_names_are_those_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUKAI_REDIS_URL", "redis://a")
    monkeypatch.setenv("NOUKAI_API_KEY", "nk_1")
    monkeypatch.setenv("NOUKAI_WORKER_LEASE", "3.5")
    monkeypatch.setenv("NOUKAI_WORKER_CREDENTIALS", '{"acme": "nk_2"}')
    settings = from_environment()
    assert (settings.redis_url, settings.broker, settings.lease) == ("redis://a", "redis://a", 3.5)
    assert (settings.key("default"), settings.key("acme")) == ("nk_1", "nk_2")
    with pytest.raises(CredentialMissing, match="NOUKAI_WORKER_CREDENTIALS"):
        settings.key("nobody")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOUKAI_WORKER_LEASE", "soon"),
        ("NOUKAI_WORKER_LEASE", "0"),
        ("NOUKAI_WORKER_CREDENTIALS", "nk_x"),
        ("NOUKAI_WORKER_LIMITS", "10"),
        ("NOUKAI_WORKER_LIMITS", '{"default": {"concurrency": 0}}'),
        ("NOUKAI_WORKER_LIMITS", '{"default": {"speed": 1}}'),
        ("NOUKAI_ENV", "staging"),
        ("NOUKAI_REDIS_URL", "localhost"),
        ("NOUKAI_REDIS_URL", "redis-sentinel://h:1"),
        ("NOUKAI_BROKER_URL", "redis-cluster://h"),
        ("NOUKAI_RESULT_BACKEND", "redis-cluster://h"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidRequest, match=name) as caught:
        from_environment()
    assert "\n" not in str(caught.value)


def test_a_wrong_address_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("redis://u:hush@h:x", "redis-cluster://u:hush@h/3", "redis-sentinel://u:hush@h", "http://u:hush@h"):
        monkeypatch.setenv("NOUKAI_REDIS_URL", wrong)
        from_environment.cache_clear()
        with pytest.raises(InvalidRequest, match="NOUKAI_REDIS_URL") as caught:
            from_environment()
        assert "hush" not in str(caught.value)


def test_a_cluster_carries_neither_broker_nor_results() -> None:
    cluster = "redis-cluster://h:1,h:2"
    with pytest.raises(InvalidRequest, match="NOUKAI_BROKER_URL"):
        _ = Settings(redis_url=cluster).broker
    assert Settings(redis_url=cluster).results is None
    assert Settings(redis_url=cluster, broker_url="amqp://h").results is None
    assert Settings(redis_url=cluster, broker_url="redis://b").results == "redis://b"
    assert Settings(redis_url=cluster, broker_url="amqp://h", result_backend="redis://r").results == "redis://r"
    sentinel = "redis-sentinel://h/0#main"
    assert (Settings(redis_url=sentinel).broker, Settings(redis_url=sentinel).results) == (sentinel, sentinel)
    assert Settings(redis_url="redis://a", broker_url="amqp://b").results == "redis://a"


def test_secrets_are_not_shown() -> None:
    settings = Settings(
        redis_url="redis://u:hush@h",
        broker_url="amqp://u:hush@h",
        result_backend="redis://u:hush@h",
        api_key="nk_hush",
        credentials={"a": "nk_hush"},
    )  # type: ignore[arg-type]
    assert "hush" not in repr(settings) + str(settings)
    assert address("rediss://u:hush@h:1/2?password=hush") == "rediss://h:1/2"


def test_settings_can_be_adopted() -> None:
    mine = Settings(lease=1)
    adopt(mine)
    try:
        assert current() is mine
    finally:
        adopt(None)
    assert current() is from_environment()
