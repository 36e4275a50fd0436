"""Celery's settings that the laws need, each with its reason in CELERY.md or below."""

from __future__ import annotations

from typing import Any

from ..settings import Settings
from . import rabbitmq
from .places import Place

EXECUTE_QUEUE = "noukai.execute"
STREAM_QUEUE = "noukai.stream"
QUEUES = (EXECUTE_QUEUE, STREAM_QUEUE)

TRANSPORT = "noukai_worker.tasks.transport:Transport"
RESULTS = "noukai_worker.tasks.backend:Results"

VISIBILITY_TIMEOUT = 300
"""Seconds. A message that comes back while its run goes on does no harm (law 4); one that a dead worker held is wanted soon."""


def needed(settings: Settings) -> dict[str, Any]:
    """What an application's own Celery app must be set to for these tasks; it keeps everything else."""
    return {
        # Nothing is hoarded behind a half-hour call.
        "worker_prefetch_multiplier": 1,
        # A running task is not started again because the broker went away for a moment.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A finished run never becomes a failure because Redis was away.
        "result_backend_always_retry": True,
        "result_backend_transport_options": {"retry_policy": {"timeout": 5.0}},
        "result_expires": int(settings.retention * 2),
        "result_extended": True,
        "task_routes": {
            EXECUTE_QUEUE: {"queue": EXECUTE_QUEUE},
            STREAM_QUEUE: {"queue": STREAM_QUEUE},
            # A job is asked after, not blocked in: it needs no thread.
            "noukai.job": {"queue": STREAM_QUEUE},
        },
    }


def redis_transport() -> dict[str, Any]:
    """Transport options for a broker on Redis: half-open sockets are noticed, lost messages are looked for every 10 s."""
    return {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
        # Seconds that one look for messages blocks; a stopping worker waits for it to return.
        "polling_interval": 0.2,
    }


def backend(settings: Settings) -> str | None:
    """Celery's name of the result backend; None for its own, at the place that the configuration says."""
    url = Place.of(settings.results).url
    return f"{RESULTS}+{url}" if _one_server(url) else None


def _one_server(url: str | None) -> bool:
    return url is not None and url.startswith(("redis://", "rediss://"))


def alone(settings: Settings) -> dict[str, Any]:
    """The whole configuration of the stand-alone app. Raises InvalidRequest if it has no broker."""
    broker, results = Place.of(settings.broker), Place.of(settings.results)
    needs = needed(settings)
    return (
        needs
        | _broker(broker)
        | {
            "broker_url": broker.url,
            "broker_use_ssl": broker.tls or False,
            "result_backend": results.url,
            "result_backend_transport_options": needs["result_backend_transport_options"] | results.options,
            "redis_backend_use_ssl": results.tls,
            "worker_send_task_events": settings.task_events,
            "task_send_sent_event": settings.task_events,
            "task_default_queue": EXECUTE_QUEUE,
            "task_serializer": "json",
            "result_serializer": "json",
            "accept_content": ["json"],
            "enable_utc": True,
            "timezone": "UTC",
            "worker_hijack_root_logger": True,
            "worker_redirect_stdouts": False,
        }
    )


def _broker(place: Place) -> dict[str, Any]:
    if place.url and rabbitmq.spoken_at(place.url):
        return rabbitmq.alone()
    return {
        "broker_transport": TRANSPORT if _one_server(place.url) else None,
        "broker_transport_options": (redis_transport() if place.redis else {}) | place.options,
    }
