"""Starts the two kinds of worker in this process: Celery workers with the pool, queue and concurrency that each needs."""

from __future__ import annotations

import gc
import logging
import os
import sys

from celery.utils.nodenames import default_nodename, host_format

from ..pool import TaskPool, ThreadPool
from ..runs import shared
from ..settings import current
from . import app as apps
from . import clients, conf


def execute_worker(*, concurrency: int | None = None, loglevel: str = "INFO", name: str | None = None) -> int:
    """Run execute runs in threads until told to stop; the exit code. Raises StoreUnavailable if there is no Redis to begin with."""
    concurrency = concurrency or current().execute_concurrency
    return _work(
        "noukai_worker.pool:ThreadPool", conf.EXECUTE_QUEUE, concurrency, loglevel, name or f"execute-{os.getpid()}"
    )


def stream_worker(*, concurrency: int | None = None, loglevel: str = "INFO", name: str | None = None) -> int:
    """Relay streaming runs on one event loop until told to stop; the exit code. Raises StoreUnavailable."""
    _suit_many_runs()
    concurrency = concurrency or current().stream_concurrency
    return _work(
        "noukai_worker.pool:TaskPool", conf.STREAM_QUEUE, concurrency, loglevel, name or f"stream-{os.getpid()}"
    )


def _suit_many_runs() -> None:
    """Set the interpreter for thousands of runs in one loop beside Celery's own thread."""
    # Celery's thread waits for the interpreter several times for each message, and a busy loop lets go of it only when asked to.
    sys.setswitchinterval(0.0005)
    # A thousand runs are a quarter of a million objects; looking through all of them for cycles holds up every run. It is done
    # after a million new objects, not after seventy thousand, and never again for what is there before the first run.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def _work(pool: str, queue: str, concurrency: int, loglevel: str, name: str) -> int:
    clients.check(current())
    shared(current().redis_url).ping()
    TaskPool.drain_timeout = ThreadPool.drain_timeout = current().drain_grace
    ThreadPool.grace = current().execute_grace
    worker = apps.current().Worker(
        pool=pool,
        queues=[queue],
        concurrency=concurrency,
        loglevel=loglevel,
        hostname=host_format(default_nodename(name if "@" in name else f"{name}@%h")),
        # Workers need not know each other: the run store is what they share.
        without_gossip=True,
        without_mingle=True,
        redirect_stdouts=False,
        quiet=True,
    )
    # One line for each request would drown what the worker itself has to say.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    worker.start()
    return int(worker.exitcode or 0)
