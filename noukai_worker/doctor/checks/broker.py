"""Judges the broker. A message that it loses or doubles harms no run (laws 4 and 5); other tasks have no such protection."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts import Broker, Facts
from ..finding import Finding, problem, warning

CELERYS_VISIBILITY = 3600.0
BUSY = 30.0
"""Seconds of visibility below which coming back and being turned away costs more than it may bring."""
_SURVIVED = "runs are sent again within seconds"


def broker(facts: Facts) -> Iterator[Finding]:
    """The broker, by its kind."""
    found = facts.broker
    if found.trouble:
        yield problem(
            "unreachable",
            "broker",
            f"no broker at {found.address} ({found.trouble}): runs are recorded, and nobody is told to work on them",
            "start it, or set NOUKAI_BROKER_URL (an application's own: broker_url)",
        )
    elif found.transport == "redis":
        yield from _server(found)
    if found.transport == "redis":
        yield from _connections(found)
        yield from _visibility(facts)


def _server(broker: Broker) -> Iterator[Finding]:
    server = broker.server
    if server is None:
        return
    if server.replica:
        yield problem("replica", "broker", f"{server.address} is a replica: it takes no messages", "name the primary")
    if server.clustered:
        yield problem(
            "node_of_cluster",
            "broker",
            f"{server.address} is one node of a Redis Cluster: Celery cannot work on one",
            "use a Redis that is not part of a cluster, or RabbitMQ",
        )
    if server.policy and server.policy.startswith("allkeys") and server.memory_limit:
        yield warning(
            "evicts",
            "broker",
            f"maxmemory-policy is {server.policy}: queues may be thrown away; {_SURVIVED}, other tasks are lost",
            "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        )
    if server.log is False and server.snapshots is False:
        yield warning(
            "not_persistent",
            "broker",
            f"neither append-only file nor snapshots: a restart loses the queues; {_SURVIVED}, other tasks are lost",
            "CONFIG SET appendonly yes, and the same in redis.conf",
        )
    if server.failing:
        yield warning(
            "saving_fails",
            "broker",
            f"the server could not save what it holds ({server.failing}), and may refuse messages for that",
            "look at its log: most often the disk is full, or its folder may not be written to",
        )


def _connections(broker: Broker) -> Iterator[Finding]:
    if not broker.options.get("socket_timeout"):
        yield warning(
            "no_socket_timeout",
            "broker",
            "no socket_timeout in broker_transport_options: on a dead connection enqueuers and sweepers wait without end",
            'broker_transport_options = {"socket_timeout": 30, "socket_connect_timeout": 5, …}',
        )
    # Unset, it is kombu's 25 seconds.
    if not broker.options.get("health_check_interval", 25):
        yield warning(
            "no_health_check",
            "broker",
            "health_check_interval is off: a worker whose connection died silently is not told of new runs",
            'broker_transport_options = {"health_check_interval": 25, …}',
        )


def _visibility(facts: Facts) -> Iterator[Finding]:
    visible = float(facts.broker.options.get("visibility_timeout", CELERYS_VISIBILITY))
    remedy = 'broker_transport_options = {"visibility_timeout": 3600, …}, above your longest task and countdown'
    late = [task for task in facts.app.theirs if task.acks_late]
    doubled = sorted(
        task.name
        for task in late
        # Without a limit a task may take as long as it likes: below Celery's own timeout somebody has chosen to be early.
        if (visible < task.time_limit if task.time_limit else visible < CELERYS_VISIBILITY)
    )
    if doubled:
        yield warning(
            "visibility_below_longest",
            "broker",
            f"visibility_timeout is {visible:g} s: {_listed(doubled)}, acknowledged late, runs twice at once when it takes longer "
            "(noukai's runs do not: the second message is turned away)",
            remedy,
        )
    if visible < BUSY:
        yield warning(
            "visibility_short",
            "broker",
            f"visibility_timeout is {visible:g} s: that often a running run's message comes back, to be turned away",
            remedy,
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
