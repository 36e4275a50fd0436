"""Brokers and result backends in Celery's words."""

from __future__ import annotations

import ssl

from celery import Celery

from noukai_worker.settings import Settings
from noukai_worker.tasks import app as apps
from noukai_worker.tasks.places import Place


def configured(**settings: str) -> Celery:
    return apps.build(Settings(**settings))  # type: ignore[arg-type]


def test_sentinels_are_named_one_by_one_with_their_primary() -> None:
    app = configured(redis_url="redis-sentinel://u:p@a:1,b:2/3?sentinel_password=w#main")
    urls = "sentinel://u:p@a:1/3;sentinel://u:p@b:2/3"
    assert (app.conf.broker_url, app.conf.result_backend) == (urls, urls)
    expected = {"master_name": "main", "sentinel_kwargs": {"password": "w"}}
    assert expected.items() <= app.conf.broker_transport_options.items()
    assert expected.items() <= app.conf.result_backend_transport_options.items()
    assert app.conf.result_backend_transport_options["retry_policy"] == {"timeout": 5.0}
    assert type(app.backend).__name__ == "SentinelBackend"


def test_certificates_are_checked_unless_the_url_says_otherwise() -> None:
    """Celery's default is a refusal, kombu's is not to check."""
    app = configured(redis_url="rediss://h/0?ssl_ca_certs=/ca.pem")
    with app.connection_for_write() as broker:
        assert broker.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"}
    assert app.backend.connparams["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert app.backend.connparams["ssl_ca_certs"] == "/ca.pem"


def test_sentinels_with_tls() -> None:
    place = Place.of("rediss-sentinel://a/0?ssl_check_hostname=false#main")
    tls = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": False}
    assert place.tls == tls
    assert place.options["sentinel_kwargs"] == tls | {"ssl": True}
    app = configured(redis_url="rediss-sentinel://a/0#main")
    assert app.conf.broker_use_ssl == app.conf.redis_backend_use_ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_a_socket() -> None:
    app = configured(redis_url="unix:///tmp/r.sock?db=2")
    assert app.conf.broker_url == "redis+socket:///tmp/r.sock?virtual_host=2"
    assert app.backend.connparams["path"] == "/tmp/r.sock"
    assert app.backend.connparams["db"] == 2


def test_a_cluster_beside_a_broker() -> None:
    app = configured(redis_url="redis-cluster://h", broker_url="redis://b")
    assert (app.conf.broker_url, app.conf.result_backend) == ("redis://b", "redis://b")
    app = configured(redis_url="redis-cluster://h", broker_url="amqp://b")
    assert (app.conf.broker_url, app.conf.result_backend) == ("amqp://b", None)
    assert type(app.backend).__name__ == "DisabledBackend"


def test_a_place_does_not_show_its_password() -> None:
    assert "hush" not in repr(Place.of("redis-sentinel://u:hush@h?sentinel_password=hush#m"))
