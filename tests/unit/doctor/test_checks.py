"""Every judgement of the doctor, both ways: what is sound raises nothing, and each thing that is wrong is named once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from noukai_worker.doctor.checks import judge
from noukai_worker.doctor.facts import App, Broker, Facts, Package, Process, Server, Task, Worker
from noukai_worker.doctor.finding import Finding
from noukai_worker.settings import Settings
from noukai_worker.tasks import conf

ROOT = Path(__file__).parents[3]

STREAM = Task("noukai.stream", "noukai.stream")
EXECUTE = Task("noukai.execute", "noukai.execute")
ON_LOOP = Worker("stream@a", "noukai_worker.pool.taskpool:TaskPool", True, True, ("noukai.stream",), 1000, 1000)
THREADS = Worker("execute@a", "noukai_worker.pool.threads:ThreadPool", True, False, ("noukai.execute",), 32, 32)
SETTINGS = Settings(redis_url="redis://db.example/0", api_key=SecretStr("nk_1"))

SOUND = Facts(
    settings=SETTINGS,
    store=Server(
        "redis://db.example/0",
        identity="a1",
        version=(7, 4, 1),
        policy="noeviction",
        memory=50,
        memory_limit=100,
        log=True,
        snapshots=True,
        fsync="everysec",
        skew=0.1,
        latency=0.001,
    ),
    broker=Broker("redis", "redis://db.example/0", options=conf.redis_transport()),
    app=App(conf=conf.needed(SETTINGS) | {"worker_enable_remote_control": True}, ours=(STREAM, EXECUTE)),
    packages=(Package("celery", "5.6.3", "<5.7,>=5.6.3", True), Package("kombu", "5.7.0", "<5.8,>=5.6", True)),
    process=Process(descriptors=4096),
    workers=(ON_LOOP, THREADS),
    everyone=True,
)


def store(**changes: Any) -> Facts:
    return replace(SOUND, store=replace(SOUND.store, **changes))


def broker(**changes: Any) -> Facts:
    return replace(SOUND, broker=replace(SOUND.broker, **changes))


def other(**changes: Any) -> Facts:
    """A broker that is a Redis of its own."""
    return broker(server=replace(SOUND.store, identity="b2", **changes))


def options(**changes: Any) -> Facts:
    return broker(options={**SOUND.broker.options, **changes})


def configured(**changes: Any) -> Facts:
    return replace(SOUND, app=replace(SOUND.app, conf={**SOUND.app.conf, **changes}))


def app(**changes: Any) -> Facts:
    return replace(SOUND, app=replace(SOUND.app, **changes))


def settings(**changes: Any) -> Facts:
    return replace(SOUND, settings=Settings.model_validate(dict(SETTINGS) | changes))


def workers(*found: Worker) -> Facts:
    return replace(SOUND, workers=found)


def celery(version: str, **changes: Any) -> Facts:
    return replace(configured(**changes), packages=(Package("celery", version, "<5.7,>=5.6.3", False),))


def container(**changes: Any) -> Facts:
    return replace(SOUND, process=replace(SOUND.process, **changes))


def theirs(*tasks: Task, **transport: Any) -> Facts:
    return replace(options(**transport), app=replace(SOUND.app, theirs=tasks))


WRONG: list[tuple[Facts, str, str]] = [
    (store(trouble="refused"), "unreachable", "problem"),
    (store(silent=("INFO",)), "not_permitted", "note"),
    (store(version=(6, 0, 16)), "server_too_old", "problem"),
    (store(clustered=True), "node_of_cluster", "problem"),
    (store(replica=True, refuses="READONLY"), "replica", "problem"),
    (store(refuses="OOM command not allowed"), "script_refused", "problem"),
    (store(denied=("XDEL", "PUBLISH")), "commands_denied", "problem"),
    (store(policy="allkeys-lru"), "evicts", "problem"),
    (store(policy="volatile-ttl"), "evicts", "problem"),
    (store(policy="allkeys-lru", memory_limit=0), "evicts", "warning"),
    (store(memory=95), "memory_nearly_full", "warning"),
    (store(failing="aof_last_write_status: err"), "saving_fails", "problem"),
    (store(log=False, snapshots=False), "not_persistent", "problem"),
    (store(log=False), "snapshots_only", "warning"),
    (store(fsync="no"), "fsync_no", "warning"),
    (store(latency=2.0), "too_far", "problem"),
    (store(latency=0.2), "far", "warning"),
    (store(skew=-30.0), "clock_skew", "warning"),
    (broker(trouble="refused"), "unreachable", "problem"),
    (broker(transport="amqp", trouble="refused", options={}), "unreachable", "problem"),
    (other(replica=True), "replica", "problem"),
    (other(clustered=True), "node_of_cluster", "problem"),
    (other(policy="allkeys-lru"), "evicts", "warning"),
    (other(log=False, snapshots=False), "not_persistent", "warning"),
    (other(failing="rdb_last_bgsave_status: err"), "saving_fails", "warning"),
    (options(socket_timeout=None), "no_socket_timeout", "warning"),
    (options(health_check_interval=0), "no_health_check", "warning"),
    (options(visibility_timeout=10), "visibility_short", "warning"),
    (theirs(Task("shop.ship")), "visibility_below_longest", "warning"),
    (
        theirs(Task("shop.ship", time_limit=7200.0), visibility_timeout=3600),
        "visibility_below_longest",
        "warning",
    ),
    (celery("5.7.0"), "celery_dies", "problem"),
    (celery("5.5.3"), "untested_version", "warning"),
    (app(sweeps=False), "not_configured", "problem"),
    (app(results=False), "no_result_backend", "warning"),
    (app(ours=(replace(STREAM, acks_late=False), EXECUTE)), "acks_early", "warning"),
    (app(ours=(STREAM, replace(EXECUTE, reject_on_worker_lost=False))), "lost_worker_fails", "warning"),
    (app(ours=(replace(STREAM, time_limit=300.0), EXECUTE)), "time_limit", "warning"),
    (configured(task_always_eager=True), "eager", "problem"),
    (
        configured(worker_cancel_long_running_tasks_on_connection_loss=True),
        "cancels_on_connection_loss",
        "problem",
    ),
    (configured(broker_connection_retry=False), "connects_once", "problem"),
    (configured(broker_connection_max_retries=100), "gives_up_connecting", "warning"),
    (configured(broker_connection_retry_on_startup=False), "starts_only_with_broker", "warning"),
    (configured(worker_prefetch_multiplier=4), "prefetches", "warning"),
    (configured(worker_enable_remote_control=False), "remote_control_off", "warning"),
    (configured(result_backend_always_retry=False), "results_not_retried", "warning"),
    (configured(result_expires=3600), "results_expire_early", "warning"),
    (workers(), "nobody_works", "warning"),
    (replace(broker(waiting={"noukai.stream": 3}), workers=()), "nobody_works", "problem"),
    (workers(ON_LOOP, THREADS, THREADS), "same_name", "warning"),
    (workers(ON_LOOP), "queue_unattended", "warning"),
    (replace(broker(waiting={"noukai.execute": 3}), workers=(ON_LOOP,)), "queue_unattended", "problem"),
    (app(ours=(STREAM, EXECUTE, replace(EXECUTE, name="noukai.job", queue="slow"))), "queue_unattended", "warning"),
    (replace(SOUND, workers=(), everyone=False), "workers_unseen", "note"),
    (workers(THREADS, replace(THREADS, name="b", queues=("noukai.stream",))), "foreign_pool", "problem"),
    (workers(replace(ON_LOOP, queues=("noukai.stream", "noukai.execute"))), "blocks_loop", "problem"),
    (workers(THREADS, replace(ON_LOOP, queues=("noukai.stream", "celery"))), "blocks_loop", "warning"),
    (
        workers(ON_LOOP, replace(THREADS, pool="celery.concurrency.gevent:TaskPool", ours=False)),
        "unfit_pool",
        "warning",
    ),
    (
        workers(ON_LOOP, replace(THREADS, pool="celery.concurrency.prefork:TaskPool", ours=False)),
        "foreign_pool",
        "warning",
    ),
    (workers(ON_LOOP, replace(THREADS, prefetch=128)), "hoards", "warning"),
    (workers(replace(ON_LOOP, prefetch=0), THREADS), "hoards", "warning"),
    (settings(api_key=None), "no_key", "warning"),
    (replace(settings(api_key=None), process=Process(4096, worker=True)), "no_key", "problem"),
    (replace(SOUND, refused=("credential 'a': bad",)), "key_refused", "problem"),
    (settings(credentials={"default": "nk_2"}), "key_shadowed", "warning"),
    (replace(SOUND, named={"default": 2, "acme": 1}), "key_wanted", "warning"),
    (replace(settings(credentials={"acme": "nk_2"}), named={"default": 2}), "key_idle", "note"),
    (settings(lease=1.0), "lease_short", "warning"),
    (settings(lease=300.0), "lease_long", "warning"),
    (settings(sweep_interval=30.0), "sweeps_rarely", "warning"),
    (settings(pickup=0.1), "pickup", "warning"),
    (settings(pickup=900.0), "pickup", "warning"),
    (settings(max_age=200.0), "age_below_timeout", "warning"),
    (settings(max_age=400.0, backoff_max=500.0), "backoff_over_age", "warning"),
    (settings(retention=60.0), "retention_short", "warning"),
    (settings(failed_retention=3600.0), "failed_retention_short", "warning"),
    (settings(drain_grace=20.0), "drain_long", "warning"),
    (container(contained=True), "stop_grace", "note"),
    (settings(web_open=True), "web_open", "problem"),
    (settings(web_open=True, redis_url="redis://localhost"), "web_open", "warning"),
    (container(descriptors=1024), "few_descriptors", "warning"),
]

RIGHT: list[Facts] = [
    SOUND,
    store(version=(6, 2)),
    store(clustered=True, address="redis-cluster://db.example"),
    store(policy=None, log=None, snapshots=None, fsync=None, version=None),
    store(memory_limit=0, memory=10**12),
    store(log=True, snapshots=False),
    store(fsync="always"),
    store(skew=4.0, latency=0.02),
    broker(transport="amqp", options={}),
    broker(transport="memory", options={}),
    broker(options={"socket_timeout": 30}),
    other(policy="volatile-lru"),
    other(log=False, snapshots=True),
    theirs(Task("shop.ship", acks_late=False)),
    theirs(Task("shop.ship", time_limit=60.0)),
    theirs(Task("shop.ship"), visibility_timeout=7200),
    replace(SOUND, packages=()),
    configured(result_expires=None),
    configured(broker_connection_max_retries=0),
    app(ours=(replace(STREAM, time_limit=7200.0), EXECUTE)),
    app(ours=(STREAM, replace(EXECUTE, queue=None))),
    workers(ON_LOOP, replace(THREADS, pool="shop.pool:Subclass")),
    workers(ON_LOOP, THREADS, Worker("shop@a", "celery.concurrency.gevent:TaskPool", False, False, ("celery",), 4, 0)),
    replace(SOUND, workers=(THREADS,), everyone=False, process=Process(256, worker=True)),
    settings(api_key=None, credentials={"acme": "nk_2"}),
    replace(SOUND, named={}),
    replace(SOUND, named={"default": 1}),
    container(descriptors=None),
]


@pytest.mark.parametrize(
    ("facts", "code", "severity"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_wrong_is_named_once_with_its_remedy(facts: Facts, code: str, severity: str) -> None:
    (found,) = judge(facts)
    assert (found.code, found.severity) == (code, severity)
    assert found.where
    assert found.remedy
    assert "\n" not in found.message + found.remedy


@pytest.mark.parametrize("facts", RIGHT, ids=range(len(RIGHT)))
def test_what_is_sound_raises_nothing(facts: Facts) -> None:
    assert judge(facts) == ()


def test_remote_control_switched_off_keeps_celery_5_7_alive() -> None:
    found = judge(celery("5.7.0", worker_enable_remote_control=False))
    assert {finding.code: finding.severity for finding in found} == {
        "celery_dies": "warning",
        "remote_control_off": "warning",
    }


def test_the_worst_comes_first() -> None:
    facts = replace(store(policy="allkeys-lru"), process=Process(1024, contained=True))
    assert [finding.severity for finding in judge(facts)] == ["problem", "warning", "note"]


def test_no_finding_shows_a_secret() -> None:
    secrets = settings(
        redis_url="redis://u:hush@db.example", broker_url="redis://u:hush@db.example", api_key="nk_hush", web_open=True,
        credentials={"default": "nk_hush"}, lease=1.0,
    )  # fmt: skip
    assert "hush" not in repr([judge(replace(facts, settings=secrets.settings)) for facts, _, _ in WRONG])


def test_every_code_is_in_the_documentation_with_its_severities() -> None:
    text = (ROOT / "docs/doctor.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([\w, ]+) \|", text, re.MULTILINE)
    told = {(code, severity) for code, _, severities in rows for severity in severities.split(", ")}
    assert told == {(code, severity) for _, code, severity in WRONG} | {("celery_dies", "warning")}


def test_a_finding_is_one_flat_json_object() -> None:
    finding: Finding = judge(store(replica=True))[0]
    assert list(finding.public()) == ["severity", "code", "where", "message", "remedy"]
    assert all(isinstance(value, str) for value in finding.public().values())
