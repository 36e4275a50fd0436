"""Starts the two kinds of worker in this process: Celery workers with the pool, queue and concurrency that each needs."""

from __future__ import annotations

import logging
import os

from celery.utils.nodenames import default_nodename, host_format

from ..pool import TaskPool, ThreadPool
from ..runs import shared
from ..settings import current
from . import app as apps
from . import clients, conf
from .process import suit, suit_one_loop


def execute_worker(*, concurrency: int | None = None, loglevel: str = "INFO", name: str | None = None) -> int:
    """Run execute runs in threads until told to stop; the exit code. Raises StoreUnavailable if there is no Redis to begin with."""
    concurrency = concurrency or current().execute_concurrency
    return _work(
        "noukai_worker.pool:ThreadPool", conf.EXECUTE_QUEUE, concurrency, loglevel, name or f"execute-{os.getpid()}"
    )


def stream_worker(*, concurrency: int | None = None, loglevel: str = "INFO", name: str | None = None) -> int:
    """Relay streaming runs on one event loop until told to stop; the exit code. Raises StoreUnavailable."""
    concurrency = concurrency or current().stream_concurrency
    suit_one_loop()
    return _work(
        "noukai_worker.pool:TaskPool", conf.STREAM_QUEUE, concurrency, loglevel, name or f"stream-{os.getpid()}"
    )


def _work(pool: str, queue: str, concurrency: int, loglevel: str, name: str) -> int:
    clients.check(current())
    shared(current().redis_url).ping()
    suit(concurrency)
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
