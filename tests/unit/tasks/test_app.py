"""An application's own Celery app carries the tasks, keeps what is its own, and gets what the laws need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

from noukai_worker.errors import InvalidRequest
from noukai_worker.settings import Settings, adopt
from noukai_worker.tasks import app as apps
from noukai_worker.tasks import clients, conf
from noukai_worker.tasks.declaring import Declaring
from noukai_worker.tasks.sweeping import Sweeping


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    apps._configured.clear()
    adopt(None)


def test_configure_adds_routes_settings_and_a_sweeper() -> None:
    app = Celery("shop", set_as_current=False, broker="memory://")
    app.conf.task_routes = {"shop.ship": {"queue": "shipping"}}
    app.conf.task_time_limit = 7
    settings = Settings(retention=100)
    assert apps.configure(app, settings) is app
    assert apps.current() is app
    assert app.conf.task_acks_late is False, "the application's own tasks keep their ways"
    assert app.tasks["noukai.stream"].acks_late is True
    assert app.conf.result_expires == 200
    assert app.conf.task_time_limit == 7
    assert set(app.conf.task_routes) == {"shop.ship", conf.EXECUTE_QUEUE, conf.STREAM_QUEUE, "noukai.job"}
    assert Sweeping in app.steps["worker"]
    assert "noukai.stream" in app.tasks


def test_an_applications_own_choices_win() -> None:
    app = Celery("shop", set_as_current=False, broker="memory://")
    app.conf.task_routes = {"noukai.stream": {"queue": "mine"}}
    app.conf.result_backend_transport_options = {"global_keyprefix": "shop", "retry_policy": {"timeout": 1.0}}
    apps.configure(app, Settings())
    assert app.conf.task_routes["noukai.stream"] == {"queue": "mine"}
    assert app.conf.result_backend_transport_options == {"global_keyprefix": "shop", "retry_policy": {"timeout": 1.0}}


def test_routes_of_any_kind_are_kept() -> None:
    def route(name: str, *_: object, **__: object) -> None: ...

    app = Celery("shop", set_as_current=False, broker="memory://")
    app.conf.task_routes = (route,)
    apps.configure(app, Settings())
    assert app.conf.task_routes[0] is route
    assert app.conf.task_routes[-1] == conf.needed(Settings())["task_routes"]


def test_each_queue_of_the_stand_alone_app_has_an_exchange_of_its_own() -> None:
    """Sharing one exchange and key, each queue would get every message."""
    queues = apps.build(Settings()).conf.task_queues
    assert [(queue.name, queue.exchange.name, queue.routing_key) for queue in queues] == [
        (name, name, name) for name in (conf.EXECUTE_QUEUE, conf.STREAM_QUEUE)
    ]


RABBITMQ = "amqp://broker.invalid//"


def test_on_rabbitmq_both_queues_are_quorum_queues() -> None:
    for app in (
        apps.build(Settings(broker_url=RABBITMQ)),
        apps.configure(Celery("shop", set_as_current=False, broker=RABBITMQ), Settings()),
    ):
        queues = [app.amqp.queues[name] for name in conf.QUEUES]
        assert {queue.queue_arguments["x-queue-type"] for queue in queues} == {"quorum"}
        assert {queue.exchange.type for queue in queues} == {"topic"}
        assert app.conf.broker_channel_error_retry is True
        assert app.conf.worker_enable_prefetch_count_reduction is False
        assert Declaring in app.steps["worker"]


def test_an_applications_workers_consume_from_our_queues_only_when_told() -> None:
    app = Celery("shop", set_as_current=False, broker=RABBITMQ)
    app.conf.task_queue_max_priority = 9
    for _ in range(2):
        apps.configure(app, Settings())
    assert set(app.amqp.queues.consume_from) == {"celery"}
    app.amqp.queues.select("noukai.stream")
    (ours,) = app.amqp.queues.consume_from.values()
    assert ours.queue_arguments["x-queue-type"] == "quorum"
    assert "x-max-priority" not in ours.queue_arguments, "quorum queues refuse it"


def test_rabbitmqs_settings_stay_with_rabbitmq() -> None:
    app = apps.configure(Celery("shop", set_as_current=False, broker="memory://"), Settings())
    assert app.conf.broker_channel_error_retry is False
    assert Declaring not in app.steps["worker"]
    assert apps.build(Settings()).conf.broker_transport_options["visibility_timeout"] == conf.VISIBILITY_TIMEOUT


def test_a_key_never_reaches_celerys_configuration() -> None:
    app = apps.build(Settings(api_key="nk_hush", credentials={"a": "nk_hush"}))  # type: ignore[arg-type]
    assert "nk_hush" not in str(dict(app.conf))


@pytest.mark.parametrize(
    "wrong",
    [{"api_key": "sk_bad"}, {"credentials": {"acme": "bad"}}, {"api_key": "nk_x", "base_url": "http://example.com/"}],
)
def test_a_worker_with_a_typo_in_its_settings_does_not_start(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        clients.check(Settings.model_validate(wrong))
    clients.check(Settings(api_key="nk_x", base_url="http://127.0.0.1:1/"))  # type: ignore[arg-type]
