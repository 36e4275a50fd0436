"""What the doctor sees of an app, of the installed packages, and of what runs need of Redis."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from importlib.resources import files
from types import SimpleNamespace

import fakeredis
import pytest
from celery import Celery
from celery.signals import worker_ready
from celery.utils.imports import symbol_by_name
from kombu import Queue

from noukai_worker.doctor import apps, brokers, gathering, looking, probe, servers, step
from noukai_worker.doctor.facts import Server, Worker
from noukai_worker.pool import TaskPool
from noukai_worker.settings import Settings, adopt
from noukai_worker.tasks import app as ours


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    ours._configured.clear()
    adopt(None)


def shop(**conf: object) -> Celery:
    app = Celery("shop", set_as_current=False, broker="memory://")
    app.conf.update(conf)
    return ours.configure(app, Settings())


def test_the_stand_alone_app_is_seen_as_it_is() -> None:
    seen = apps.look_at(ours.build(Settings()))
    assert seen.sweeps
    assert seen.results
    assert seen.theirs == ()
    assert {task.name: task.queue for task in seen.ours}.items() >= {"noukai.stream": "noukai.stream"}.items()
    assert all(task.acks_late and task.reject_on_worker_lost and task.time_limit is None for task in seen.ours)


def test_annotations_limits_and_tasks_of_the_applications_own_are_seen() -> None:
    app = shop(task_annotations={"noukai.stream": {"acks_late": False}}, task_time_limit=900, task_soft_time_limit=600)

    @app.task(name="shop.ship", acks_late=True, time_limit=60, soft_time_limit=50)
    def ship() -> None: ...

    seen = apps.look_at(app)
    assert {task.name: task.acks_late for task in seen.ours}["noukai.stream"] is False
    assert {task.time_limit for task in seen.ours} == {600.0}
    assert [(task.name, task.acks_late, task.time_limit) for task in seen.theirs] == [("shop.ship", True, 50.0)]
    assert not seen.results


def test_an_app_that_was_not_configured_does_not_sweep() -> None:
    assert not apps.look_at(Celery("shop", set_as_current=False)).sweeps


@pytest.mark.parametrize(
    ("route", "queue"),
    [
        ({"noukai.stream": {"queue": "mine"}}, "mine"),
        ({"noukai.stream": "mine"}, "mine"),
        ({"noukai.stream": {"queue": Queue("mine")}}, "mine"),
        ({"noukai.stream": {"exchange": "theirs"}}, None),
        ((lambda *_, **__: 1 / 0,), None),
    ],
)
def test_where_messages_go_is_only_looked_up(route: object, queue: str | None) -> None:
    """To route would make the queue, and a worker without -Q would begin to consume from it."""
    app = shop(task_routes=route)
    before = set(app.amqp.queues.consume_from)
    assert {task.name: task.queue for task in apps.look_at(app).ours}["noukai.stream"] == queue
    assert set(app.amqp.queues.consume_from) == before


def test_packages_are_held_against_the_ranges_of_pyproject() -> None:
    found = {package.name: package for package in gathering._packages()}
    assert {"celery", "kombu", "redis", "hiredis", "aiohttp"} <= set(found)
    assert "fastapi" not in found, "extras are their users' own"
    assert all(package.within for package in found.values())


def test_every_command_of_the_scripts_is_tried() -> None:
    folder = files("noukai_worker.runs.scripts")
    texts = [file.read_text() for file in folder.iterdir() if file.name.endswith(".lua")]
    used = {command for text in texts for command in re.findall(r"redis\.p?call\(\s*'(\w+)'", text)}
    assert used - {command for command, *_ in probe.COMMANDS} == set(), "give each a row in probe.COMMANDS"


def test_trying_leaves_nothing_behind() -> None:
    client = fakeredis.FakeRedis()
    assert probe.probe(client) == probe.Probed((), None)
    assert client.keys("*") == []


def test_a_url_that_cannot_be_read_shows_nothing_of_its_password() -> None:
    broken = "redis://u:hu/sh@db.example/0"
    app = Celery("shop", set_as_current=False, broker=broken)
    seen = (servers.look_at(broken), brokers.look_at(app, (), Server("x")))
    assert all(server.trouble for server in seen)
    assert "hu" not in repr(seen).replace("redis-hub", "")


def test_celery_finds_the_step_by_its_name() -> None:
    assert symbol_by_name(ours.EXAMINING) is step.Examining
    for app in (shop(), ours.build(Settings())):
        assert ours.EXAMINING in app.steps["worker"]


def test_a_worker_is_looked_at_when_it_is_ready_and_does_not_wait_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        looks.set()
        may_end.wait(10)
        ended.set()

    monkeypatch.setattr(step, "_GRACE", 0.0)
    monkeypatch.setattr(looking, "report", slow)
    examining = step.Examining(SimpleNamespace())
    examining.start(SimpleNamespace())
    assert not looks.is_set()
    worker_ready.send(sender=None)
    assert looks.wait(10)
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(10)


def test_a_worker_that_does_not_get_ready_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = threading.Event()
    monkeypatch.setattr(step, "_PATIENCE", 0.0)
    monkeypatch.setattr(step, "_GRACE", 0.0)
    monkeypatch.setattr(looking, "report", lambda *_: looks.set())
    step.Examining(SimpleNamespace()).start(SimpleNamespace())
    assert looks.wait(10)


def test_a_worker_sees_its_own_pool_and_queues() -> None:
    queues = SimpleNamespace(consume_from={"noukai.stream": None})
    worker = SimpleNamespace(
        pool=TaskPool(7), concurrency=7, hostname="stream@a", prefetch_multiplier=1,
        app=SimpleNamespace(amqp=SimpleNamespace(queues=queues)),
    )  # fmt: skip
    assert looking._itself(worker) == Worker(
        "stream@a", "noukai_worker.pool.taskpool:TaskPool", True, True, ("noukai.stream",), 7, 7
    )


def test_a_doctor_that_fails_is_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(looking, "report", lambda *_: 1 / 0)
    monkeypatch.setattr(step, "_PATIENCE", 0.0)
    monkeypatch.setattr(step, "_GRACE", 0.0)
    step.Examining(SimpleNamespace())._look(SimpleNamespace(), Settings())
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.ERROR,
        "the doctor itself has failed; the worker works on",
    )
