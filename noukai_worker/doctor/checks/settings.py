"""Judges this process' settings against each other, its keys, and its limit of open files."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..facts import Facts
from ..finding import Finding, note, problem, warning

SHORTEST_LEASE, LONGEST_LEASE = 3.0, 60.0
SHORTEST_PICKUP, LONGEST_PICKUP = 1.0, 300.0
SHORTEST_RETENTION = 300.0
STOPS_WITHIN = 10.0
"""Seconds that Docker gives a container to stop, unless told otherwise; Kubernetes gives 30."""
BESIDES = 64
"""Files and sockets that a worker has open besides those of its runs."""


def times(facts: Facts) -> Iterator[Finding]:
    """Durations that do not go together."""
    s = facts.settings
    if s.lease < SHORTEST_LEASE:
        yield warning(
            "lease_short",
            "settings",
            f"NOUKAI_WORKER_LEASE is {s.lease:g} s: when Redis takes {s.answer_within:.2f} s to answer, healthy workers lose runs",
            "10 is the default",
        )
    if s.lease > LONGEST_LEASE:
        yield warning(
            "lease_long",
            "settings",
            f"NOUKAI_WORKER_LEASE is {s.lease:g} s: so long a killed worker's runs stand still",
            "10 is the default",
        )
    if s.sweep_interval > s.lease:
        yield warning(
            "sweeps_rarely",
            "settings",
            f"NOUKAI_WORKER_SWEEP_INTERVAL ({s.sweep_interval:g} s) is over NOUKAI_WORKER_LEASE: due retries wait for it",
            "1 is the default",
        )
    if not SHORTEST_PICKUP <= s.pickup <= LONGEST_PICKUP:
        what = (
            "messages are sent again that nobody could have taken yet"
            if s.pickup < SHORTEST_PICKUP
            else "so long a lost message costs"
        )
        yield warning("pickup", "settings", f"NOUKAI_WORKER_PICKUP is {s.pickup:g} s: {what}", "10 is the default")
    if s.max_age < s.request_timeout:
        yield warning(
            "age_below_timeout",
            "settings",
            f"NOUKAI_WORKER_MAX_AGE ({s.max_age:g} s) is below NOUKAI_WORKER_REQUEST_TIMEOUT ({s.request_timeout:g} s): "
            "a run whose call times out is too old for another attempt",
            "raise the first, or lower the second",
        )
    if s.backoff_max > s.max_age:
        yield warning(
            "backoff_over_age",
            "settings",
            f"NOUKAI_WORKER_BACKOFF_MAX ({s.backoff_max:g} s) is over NOUKAI_WORKER_MAX_AGE: late retries never come",
            "120 and 21600 are the defaults",
        )
    if s.retention < SHORTEST_RETENTION:
        yield warning(
            "retention_short",
            "settings",
            f"NOUKAI_WORKER_RETENTION is {s.retention:g} s: whoever comes back later than that finds neither log nor result",
            "86400 is the default",
        )
    if s.failed_retention < s.retention:
        yield warning(
            "failed_retention_short",
            "settings",
            f"failed runs are kept for {s.failed_retention:g} s, others for {s.retention:g} s: then nobody can redrive them",
            "NOUKAI_WORKER_FAILED_RETENTION: 604800 is the default",
        )


def stopping(facts: Facts) -> Iterator[Finding]:
    """What a worker takes to stop, against what is around it; which cannot be seen from inside."""
    grace, calls = facts.settings.drain_grace, facts.settings.execute_grace
    if grace >= STOPS_WITHIN - 1:
        yield warning(
            "drain_long",
            "settings",
            f"NOUKAI_WORKER_DRAIN_GRACE is {grace:g} s; Docker kills after {STOPS_WITHIN:g} s, and runs then wait for their lease",
            "5 is the default; or a longer stop_grace_period or terminationGracePeriodSeconds",
        )
    if facts.process.contained:
        yield note(
            "stop_grace",
            "process",
            f"a streaming worker takes up to {grace:g} s to stop, one for execute runs up to {calls + grace:g} s; how long this "
            f"container has cannot be seen from inside (Docker: {STOPS_WITHIN:g} s unless told, Kubernetes: 30 s)",
            "a stop_grace_period or terminationGracePeriodSeconds over that",
        )


def keys(facts: Facts) -> Iterator[Finding]:
    """API keys: there, usable, and those that runs ask for."""
    settings = facts.settings
    held = {name for name, secret in settings.credentials.items() if secret.get_secret_value()}
    if settings.api_key and settings.api_key.get_secret_value():
        held.add("default")
    if not held:
        said = problem if facts.process.worker else warning
        yield said(
            "no_key",
            "settings",
            "no API key in this process; workers need one (enqueuers, readers and the web application do not)",
            "set NOUKAI_API_KEY where workers run, and run the doctor there",
        )
    for text in facts.refused:
        yield problem("key_refused", "settings", text, "correct it: a worker with it does not start")
    if "default" in settings.credentials and settings.api_key:
        yield warning(
            "key_shadowed",
            "settings",
            "NOUKAI_WORKER_CREDENTIALS has a key named default: NOUKAI_API_KEY is not used",
            "keep one of the two",
        )
    if not held or facts.named is None:
        return
    for name, count in sorted(facts.named.items()):
        if name not in held:
            yield warning(
                "key_wanted",
                "settings",
                f"unfinished runs ({count}) name the credential {name!r}, whose key is not here: in such a worker they fail",
                "add it to NOUKAI_WORKER_CREDENTIALS of every worker, or give such runs a queue of their own",
            )
    idle = sorted(held - facts.named.keys())
    if facts.named and idle:
        yield note(
            "key_idle",
            "settings",
            f"none of the newest unfinished runs names {', '.join(map(repr, idle))}",
            "drop keys that nobody needs any more",
        )


def openness(facts: Facts) -> Iterator[Finding]:
    """Reading without a token: for a developer's machine only."""
    if not facts.settings.web_open:
        return
    text = "NOUKAI_WORKER_WEB_OPEN is set: whoever reaches the web application reads every run"
    if _is_loopback(facts.settings.redis_url):
        yield warning("web_open", "settings", text, "unset it anywhere but on a developer's machine")
    else:
        yield problem(
            "web_open", "settings", f"{text}, and Redis is on another machine: this is no developer's", "unset it"
        )


def descriptors(facts: Facts) -> Iterator[Finding]:
    """Each streaming run holds a connection."""
    limit = facts.process.descriptors
    on_loop = [worker.places for worker in facts.workers if worker.on_loop]
    if facts.process.worker and not on_loop:
        return
    places = on_loop[0] if facts.process.worker else facts.settings.stream_concurrency
    if limit is not None and limit < places + BESIDES:
        yield warning(
            "few_descriptors",
            "process",
            f"{limit} open files are allowed here, a streaming worker with {places} runs needs {places + BESIDES}: "
            "runs beyond that find no connection and are tried again",
            f"ulimit -n {2 * (places + BESIDES)} (LimitNOFILE, ulimits), or a lower NOUKAI_WORKER_STREAM_CONCURRENCY",
        )


def _is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"
