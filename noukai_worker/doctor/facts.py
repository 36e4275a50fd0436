"""What the doctor knows when it judges; gathered elsewhere, so that a judgement needs no server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..settings import Settings


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package that this one works with. `tested` is a version specifier."""

    name: str
    version: str
    tested: str
    within: bool


@dataclass(frozen=True, slots=True)
class Process:
    """This process and its machine."""

    descriptors: int | None = None
    """How many files and sockets it may have open; None without a limit."""
    contained: bool = False
    """Whether it runs in a container."""
    worker: bool = False
    """Whether it is a worker. Keys belong there; enqueuers and readers need none."""


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis-protocol server. What could not be found out is None, or as in a server of which there is nothing to say."""

    address: str
    trouble: str | None = None
    """Why it cannot be reached; then nothing else is known."""
    silent: tuple[str, ...] = ()
    """Commands whose answer would have told more, and that were refused."""
    identity: str | None = None
    """What the server calls itself, until it is restarted."""
    product: str = "Redis"
    version: tuple[int, ...] | None = None
    """As Redis counts; Valkey's is the one that it is compatible with."""
    replica: bool = False
    clustered: bool = False
    policy: str | None = None
    """`maxmemory-policy`."""
    memory: int = 0
    memory_limit: int = 0
    """In bytes; 0 for none."""
    log: bool | None = None
    """Whether it keeps an append-only file."""
    snapshots: bool | None = None
    """Whether it saves by itself from time to time."""
    fsync: str | None = None
    """`appendfsync`."""
    failing: str | None = None
    """What of its saving has failed last."""
    skew: float = 0.0
    """Seconds by which its clock is surely ahead of this machine's, or (negative) behind it."""
    latency: float = 0.0
    """Seconds of the fastest of a few round trips."""
    denied: tuple[str, ...] = ()
    """Commands that runs need and this user may not use."""
    refuses: str | None = None
    """Why it does not carry out a script that writes."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Celery's broker. `transport` is kombu's word for its kind."""

    transport: str
    address: str
    trouble: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Celery's `broker_transport_options`."""
    server: Server | None = None
    """The Redis that it is, unless that is the run store's."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Messages in each of our tasks' queues that exists."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task as the application has it, annotations and all. Limits in seconds; `queue` is where its messages go."""

    name: str
    queue: str | None = None
    acks_late: bool = True
    reject_on_worker_lost: bool = True
    time_limit: float | None = None


@dataclass(frozen=True, slots=True)
class App:
    """The Celery app that carries our tasks."""

    sweeps: bool = True
    """Whether its workers sweep: `configure(app)` was called, or it is ours alone."""
    results: bool = True
    """Whether it has a result backend."""
    conf: Mapping[str, Any] = field(default_factory=dict)
    """Those of Celery's settings that are judged."""
    ours: tuple[Task, ...] = ()
    theirs: tuple[Task, ...] = ()
    """The application's own tasks."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A live worker. `pool` is its class, `module:Class`; `ours`: one of this package's; `on_loop`: the asyncio one."""

    name: str
    pool: str
    ours: bool
    on_loop: bool
    queues: tuple[str, ...]
    places: int
    """Tasks at once."""
    prefetch: int | None = None
    """Messages that it takes at once; 0 for any number."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that is judged. `settings` holds secrets: a finding never shows it as a whole."""

    settings: Settings
    store: Server
    broker: Broker
    app: App
    packages: tuple[Package, ...] = ()
    process: Process = Process()
    refused: tuple[str, ...] = ()
    """What the SDK says of keys that it does not take."""
    named: Mapping[str, int] | None = None
    """How many of the newest unfinished runs name each credential; None if that was not looked at."""
    workers: tuple[Worker, ...] = ()
    everyone: bool = False
    """Whether these are all workers that answer, not this process alone."""
