"""Looks at Celery's broker through Celery's own connection, whatever its kind, and at who listens there."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from celery import Celery
from kombu import Connection

from ..redis_url import address
from .facts import Broker, Server, Worker
from .servers import WITHIN, examine

_ROLL_CALL = 1.5
"""Seconds; nobody knows how many workers there are, so it takes that long."""


def look_at(app: Celery, queues: Iterable[str], store: Server) -> Broker:
    """The broker of an app. Raises nothing: what goes wrong is a fact."""
    quick = {
        "socket_timeout": WITHIN,
        "socket_connect_timeout": WITHIN,
        "read_timeout": WITHIN,
        "write_timeout": WITHIN,
    }
    options = dict(app.conf.broker_transport_options or {})
    try:
        with app.connection_for_read(connect_timeout=WITHIN) as named:
            transport, shown = str(named.transport.driver_type), address(named.as_uri())
    except Exception:  # noqa: BLE001 - whatever kombu makes of a URL; its text may hold a part of the password
        return Broker("unknown", "broker_url", "the URL cannot be read, or its transport is not installed", options)
    known = {name: value for name, value in quick.items() if name.startswith("socket") == (transport == "redis")}
    with app.connection_for_read(connect_timeout=WITHIN, transport_options=known) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=WITHIN)
            server = _server(connection, shown) if transport == "redis" else None
            trouble = server.trouble if server else None
            waiting = {} if trouble else _waiting(connection, queues)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            return Broker(transport, shown, _line(error), options)
    same = server is not None and server.identity is not None and server.identity == store.identity
    return Broker(transport, shown, trouble, options, None if same else server, waiting)


def _server(connection: Connection, shown: str) -> Server:
    return examine(connection.default_channel.client, shown, writes=False)


def _waiting(connection: Connection, queues: Iterable[str]) -> dict[str, int]:
    waiting = {}
    for queue in queues:
        # A broker closes the channel on which somebody asks for what is not there.
        channel = connection.channel()
        try:
            waiting[queue] = int(channel.queue_declare(queue, passive=True).message_count)
        except connection.channel_errors:
            continue
        finally:
            channel.close()
    return waiting


def live_workers(app: Celery) -> tuple[Worker, ...]:
    """Every worker that answers within a moment; two of one name are two. Raises what the broker's client raises."""
    with app.connection_for_write(connect_timeout=WITHIN) as connection:
        stats = _answers(app, connection, "stats", timeout=_ROLL_CALL)
        names = sorted({name for name, _ in stats})
        # Now it is known how many answers there will be, and nobody waits for more.
        asked = {"destination": names, "limit": len(stats), "timeout": WITHIN}
        queues = dict(_answers(app, connection, "active_queues", **asked)) if names else {}
    return tuple(_worker(name, said, queues.get(name) or ()) for name, said in sorted(stats, key=itemgetter(0)))


def _answers(app: Celery, connection: Connection, command: str, **how: Any) -> list[tuple[str, Any]]:
    replies = app.control.broadcast(command, reply=True, connection=connection, **how) or []
    return [(str(name), said) for reply in replies for name, said in reply.items() if not _failed(said)]


def _failed(said: Any) -> bool:
    return isinstance(said, dict) and "error" in said


def _worker(name: str, stats: Any, queues: Iterable[Any]) -> Worker:
    pool = stats.get("pool") or {}
    return Worker(
        name=name,
        pool=str(pool.get("implementation", "unknown")),
        # What our pools, and subclasses of them, say of themselves.
        ours="draining" in pool,
        on_loop="draining" in pool and "waiting" in pool,
        queues=tuple(queue["name"] for queue in queues),
        places=int(pool.get("max-concurrency") or 1),
        prefetch=stats.get("prefetch_count"),
    )


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
