"""What RabbitMQ as the broker needs: quorum queues, Celery's settings for them, and publishing that the broker confirms."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

from amqp.exceptions import MessageNacked
from celery import Celery
from kombu import Exchange, Producer, Queue
from kombu.exceptions import OperationalError
from kombu.pools import ProducerPool

DELIVERIES: Final = 20
"""How often one message is delivered before the broker drops it: the default of RabbitMQ 4, declared so that 3.x does the same.

Nothing is lost with it: a run whose message is gone is sent again when its deadline passes (law 5), by a new message.
"""

CONSUMER_TIMEOUT: Final = 24 * 3_600_000
"""Milliseconds that a message may be worked on: RabbitMQ's own 30 minutes are as long as a flow. Read from 3.12 on, ignored before.

A constant, because a queue cannot be declared again with another value.
"""

HEARTBEAT: Final = 10
"""Seconds. A peer that is silent for about twice as long is dead."""

CONFIRMED_WITHIN: Final = 5
"""Seconds that an enqueuer waits for one answer of the broker; after that a sweeper sends."""

_MOMENT: Final = 0.1
"""Seconds. A quorum queue that another process is declaring just now refuses messages until it has a leader."""

_ANSWER_WITHIN: Final = 10
"""Seconds that a worker waits for one answer of the broker, before it connects again."""


def spoken_at(url: str) -> bool:
    """Whether a broker's URL is one of RabbitMQ."""
    return url.startswith(("amqp", "pyamqp"))


@lru_cache(maxsize=8)
def spoken_by(app: Celery) -> bool:
    """Whether an app's broker is RabbitMQ. An app keeps its broker, and asking takes longer than sending a message."""
    return bool(app.connection_for_write().transport.driver_type == "amqp")


def queue(name: str) -> Queue:
    """A quorum queue, with an exchange of its own; of type topic, because Celery's delayed delivery works with no other."""
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERIES, "x-consumer-timeout": CONSUMER_TIMEOUT}
    return Queue(name, Exchange(name, type="topic"), routing_key=name, queue_arguments=arguments)


def needed() -> dict[str, Any]:
    """What an application's own Celery app must be set to besides."""
    return {
        # Quorum queues know no QoS for a whole channel, and each consumer keeps the one that it began with …
        "worker_detect_quorum_queues": True,
        # … so a worker that begins with less after a lost connection, as is Celery's default, would never get more again.
        "worker_enable_prefetch_count_reduction": False,
        # When the broker closes the channel (its consumer_timeout), the worker opens another one. Celery's default is to die.
        "broker_channel_error_retry": True,
    }


def alone() -> dict[str, Any]:
    """The stand-alone app's settings besides these."""
    return needed() | {
        "broker_heartbeat": HEARTBEAT,
        "broker_transport_options": {"read_timeout": _ANSWER_WITHIN, "write_timeout": _ANSWER_WITHIN},
        # From 4.3 on RabbitMQ refuses queues that are neither durable nor exclusive. Exclusive ones would lock out a worker that
        # comes back under its name before the broker has noticed that its old connection is dead.
        "control_queue_durable": True,
        "event_queue_durable": True,
    }


def publish(app: Celery, send: Callable[[Producer, float], Any]) -> Any:
    """Call `send(producer, confirm_timeout)` and return its value; when it returns, the broker has the message.

    A pooled connection that has died meanwhile is replaced, and `send` called again, as it is after a refusal. A broker that does
    not answer is not asked twice. Raises TimeoutError for that, and what the broker's client raises, as Celery wraps it.
    """
    with _producers(app).acquire(block=True, timeout=CONFIRMED_WITHIN) as producer:
        pooled = producer.connection.connected
        try:
            return _send(producer, send)
        except OperationalError as error:
            if isinstance(error.__cause__, MessageNacked):
                time.sleep(_MOMENT)
            elif not pooled:
                raise
        return _send(producer, send)


def _send(producer: Producer, send: Callable[[Producer, float], Any]) -> Any:
    try:
        return send(producer, CONFIRMED_WITHIN)
    except Exception as error:
        # An answer that comes late would be taken for that to the next message.
        producer.connection.collect()
        producer.revive(producer.connection)
        if isinstance(error.__cause__, TimeoutError | BlockingIOError):
            raise TimeoutError(f"the broker did not answer within {CONFIRMED_WITHIN} s") from error
        raise


_pools: WeakKeyDictionary[Celery, ProducerPool] = WeakKeyDictionary()


def _producers(app: Celery) -> ProducerPool:
    """One producer and connection for each thread that publishes at the moment.

    Not those of the app: there confirming would cost every event of every worker a round trip.
    """
    pool = _pools.get(app)
    if pool is None:
        url = app.conf.broker_write_url or app.conf.broker_url
        hosts = url if isinstance(url, list) else url.split(";")
        options = {
            "confirm_publish": True,
            "read_timeout": CONFIRMED_WITHIN,
            "write_timeout": CONFIRMED_WITHIN,
            # Each host is tried once, at once.
            "max_retries": len(hosts) - 1,
            "interval_start": 0,
        }
        connection = app.connection_for_write(connect_timeout=CONFIRMED_WITHIN, transport_options=options)
        limit = app.conf.broker_pool_limit or None
        pool = _pools.setdefault(app, ProducerPool(connection.Pool(limit=limit), limit=limit))
    return pool


def close(app: Celery) -> None:
    """Close what publishing has opened; publishing opens it again."""
    pool = _pools.pop(app, None)
    if pool is not None:
        pool.connections.force_close_all()


os.register_at_fork(after_in_child=_pools.clear)  # sockets are their opener's
