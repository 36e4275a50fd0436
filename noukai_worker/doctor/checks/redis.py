"""Judges a Redis: whether it keeps what it is given, answers in time, and lets us do what runs need."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts import Facts, Server
from ..finding import Finding, note, problem, warning

OLDEST = (6, 2)
"""From here on everything works: `XRANGE` after a position, as docs/channel.md has it, came with 6.2."""
SKEW = 5.0
FAR = 0.05
"""Seconds. In one data centre an answer takes less than a thousandth."""
FULL = 0.9


def store(facts: Facts) -> Iterator[Finding]:
    """The server that keeps the runs."""
    server = facts.store
    if server.trouble:
        yield problem(
            "unreachable",
            "store",
            f"no Redis at {server.address} ({server.trouble}): nothing can be enqueued, run or read",
            "start it, or set NOUKAI_REDIS_URL",
        )
        return
    yield from _services(server)
    yield from _memory(server)
    yield from _keeping(server)
    yield from _distance(server, facts.settings.answer_within)
    if server.silent:
        yield note(
            "not_permitted",
            "store",
            f"{', '.join(server.silent)}: not allowed to this user, so memory and persistence were not looked at, or not all of it",
            "run the doctor with a NOUKAI_REDIS_URL of a user that may use INFO and CONFIG GET",
        )


def _services(server: Server) -> Iterator[Finding]:
    if server.version and server.version < OLDEST:
        yield problem(
            "server_too_old",
            "store",
            f"{server.product} {'.'.join(map(str, server.version))}: readers of a log need {OLDEST[0]}.{OLDEST[1]}",
            "upgrade to Redis 6.2 or later, or to Valkey",
        )
    if server.clustered and "cluster" not in server.address.partition(":")[0]:
        yield problem(
            "node_of_cluster",
            "store",
            f"{server.address} is one node of a Redis Cluster: it refuses scripts whose keys it does not have",
            "set NOUKAI_REDIS_URL to a server that is not part of a cluster",
        )
    if server.replica:
        yield problem(
            "replica",
            "store",
            f"{server.address} is a replica: it takes no writes",
            "set NOUKAI_REDIS_URL to the primary",
        )
    elif server.refuses:
        yield problem(
            "script_refused",
            "store",
            f"a script that writes is refused: {server.refuses}",
            "mend what the server says; until then nothing can be enqueued, and runs stand still",
        )
    if server.denied:
        grants = " ".join(f"+{command.lower()}" for command in server.denied)
        yield problem(
            "commands_denied",
            "store",
            f"this user may not use {', '.join(server.denied)} on keys and channels noukai:*",
            f"ACL SETUSER NAME {grants} (with ~noukai:* and &noukai:*)",
        )


def _memory(server: Server) -> Iterator[Finding]:
    if server.policy not in (None, "noeviction"):
        remedy = "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf"
        if server.memory_limit:
            yield problem(
                "evicts",
                "store",
                f"maxmemory-policy is {server.policy}: when memory is full, runs are thrown away without a word",
                remedy,
            )
        else:
            yield warning(
                "evicts",
                "store",
                f"maxmemory-policy is {server.policy}: runs will be thrown away as soon as somebody sets maxmemory",
                remedy,
            )
    if server.memory_limit and server.memory >= FULL * server.memory_limit:
        yield warning(
            "memory_nearly_full",
            "store",
            f"{server.memory:,} of {server.memory_limit:,} bytes are used: at the limit nothing can be written",
            "raise maxmemory, or lower NOUKAI_WORKER_RETENTION and NOUKAI_WORKER_FAILED_RETENTION",
        )


def _keeping(server: Server) -> Iterator[Finding]:
    if server.failing:
        yield problem(
            "saving_fails",
            "store",
            f"the server could not save what it holds ({server.failing}): a restart loses runs",
            "look at its log: most often the disk is full, or its folder may not be written to",
        )
    if server.log is False and server.snapshots is False:
        yield problem(
            "not_persistent",
            "store",
            "neither append-only file nor snapshots: a restart loses all runs",
            "CONFIG SET appendonly yes, and the same in redis.conf",
        )
    elif server.log is False and server.snapshots:
        yield warning(
            "snapshots_only",
            "store",
            "snapshots only: a crash loses the runs and the paid steps since the last one",
            "CONFIG SET appendonly yes, and the same in redis.conf",
        )
    if server.log and server.fsync == "no":
        yield warning(
            "fsync_no",
            "store",
            "appendfsync is no: a crash of the machine loses what the system had not written yet, half a minute or so",
            "CONFIG SET appendfsync everysec, and the same in redis.conf",
        )


def _distance(server: Server, answer_within: float) -> Iterator[Finding]:
    if server.latency >= answer_within / 2:
        yield problem(
            "too_far",
            "store",
            f"an answer takes {server.latency:.2f} s; workers wait {answer_within:.2f} s, and would lose their leases now and then",
            "use a Redis nearby, or raise NOUKAI_WORKER_LEASE (a quarter of it is waited for)",
        )
    elif server.latency > FAR:
        yield warning(
            "far",
            "store",
            f"an answer takes {server.latency * 1000:.0f} ms: each run waits for several",
            "use a Redis in the same network",
        )
    if abs(server.skew) > SKEW:
        side = "ahead of" if server.skew > 0 else "behind"
        yield warning(
            "clock_skew",
            "store",
            f"the server's clock is {abs(server.skew):.0f} s {side} this machine's: leases and deadlines do not mind, they are "
            "the server's; an eta, and Celery's own countdowns and events, go by the machines'",
            "keep the clocks by NTP, here and there",
        )
