"""Gathers the facts of a process: its settings, app, packages, Redis, broker, and the workers that answer."""

from __future__ import annotations

import resource
from dataclasses import replace
from importlib.metadata import distribution, requires, version
from pathlib import Path

from celery import Celery
from packaging.requirements import Requirement
from redis.exceptions import RedisError

from ..errors import NoukaiWorkerError
from ..runs import RunStore, operations
from ..settings import Settings
from ..tasks import clients
from . import apps, brokers, servers
from .facts import Broker, Facts, Package, Process, Worker

_CELERYS_OWN = "kombu>=5.6,<5.8"
"""Celery brings it, and allows more than was tested."""
_CONTAINERS = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")
_NEWEST = 50
"""Runs whose credentials are looked at."""


def everything(app: Celery, settings: Settings) -> Facts:
    """All facts, as the command wants them. Takes a few seconds: workers are waited for."""
    facts = _facts(app, settings, Process(_descriptors(), _contained()))
    named = None if facts.store.trouble else _named(settings)
    workers, everyone = _workers(app, facts.broker)
    return replace(facts, named=named, workers=workers, everyone=everyone)


def of_worker(app: Celery, settings: Settings, worker: Worker) -> Facts:
    """The facts of a worker that starts: itself, and what it reaches."""
    return replace(_facts(app, settings, Process(_descriptors(), _contained(), worker=True)), workers=(worker,))


def _facts(app: Celery, settings: Settings, process: Process) -> Facts:
    seen = apps.look_at(app)
    store = servers.look_at(settings.redis_url)
    queues = dict.fromkeys(task.queue for task in seen.ours if task.queue)
    return Facts(
        settings=settings,
        store=store,
        broker=brokers.look_at(app, queues, store),
        app=seen,
        packages=_packages(),
        process=process,
        refused=tuple(clients.refusals(settings)),
    )


def _workers(app: Celery, broker: Broker) -> tuple[tuple[Worker, ...], bool]:
    """Those who answer, and whether that means anything."""
    if broker.trouble or not app.conf.worker_enable_remote_control:
        return (), False
    try:
        return brokers.live_workers(app), True
    except Exception:  # noqa: BLE001 - whatever the broker's client raises; that it is in trouble was seen before
        return (), False


def _named(settings: Settings) -> dict[str, int] | None:
    """How many of the newest unfinished runs name each credential."""
    store = RunStore(settings.redis_url, answer_within=servers.WITHIN)
    named: dict[str, int] = {}
    try:
        for run_id in store.perform(operations.recent(limit=_NEWEST)):
            view = store.perform(operations.peek(run_id))
            if view is not None and not view.state.terminal:
                named[view.credential] = named.get(view.credential, 0) + 1
    except (NoukaiWorkerError, RedisError):  # what this user may not do is found out elsewhere
        return None
    finally:
        store.close()
    return named


def _packages() -> tuple[Package, ...]:
    wanted = [Requirement(text) for text in (*(requires("noukai-worker") or ()), _CELERYS_OWN)]
    found = []
    for requirement in wanted:
        if requirement.marker is None:  # the others belong to extras
            have = _version(requirement.name)
            within = requirement.specifier.contains(have, prereleases=True)
            found.append(Package(requirement.name, have, str(requirement.specifier), within))
    return tuple(found)


def _version(package: str) -> str:
    """As `importlib.metadata` has it, which parses the whole description of a package for that: not in each worker's start."""
    head, _, _ = (distribution(package).read_text("METADATA") or "").partition("\n\n")
    lines = (line for line in head.splitlines() if line.startswith("Version: "))
    return next(lines, "").removeprefix("Version: ") or version(package)


def _descriptors() -> int | None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # a streaming worker raises the soft limit by itself
    return None if hard == resource.RLIM_INFINITY else hard


def _contained() -> bool:
    return any(Path(place).exists() for place in _CONTAINERS)
