"""Names of everything that this project keeps in Redis.

All keys of one run share a hash tag, `noukai:{<run id>}:…`, so on a Redis Cluster they live in one slot and one script may touch
them all. What all runs share is one key on a single server, and on a cluster one in each of SHARDS slots.

The log and the channel are a public contract (docs/channel.md); the rest may change between versions.
"""

from __future__ import annotations

from zlib import crc32

SHARDS = 16
"""Parts into which a cluster divides what all runs share. Never to be changed: each part would look for its runs in vain."""

DEADLINES = "noukai:deadlines"
"""Sorted set: run id → the moment (Unix ms) at which somebody must look at it. Holds every run that is not finished."""

INDEX = "noukai:runs"
"""Sorted set: run id → when it was enqueued (Unix ms). Trimmed with the runs' retention."""

DEAD = "noukai:dead"
"""Sorted set: run id → when it failed (Unix ms), for the runs that may be redriven. Trimmed with the failed runs' retention."""

SWEEP = "noukai:sweep"
"""Hash: when a sweeper last got through (Unix ms), and until when running attempts are given one more lease."""


def shard(run_id: str) -> int:
    """Which part of what all runs share a run belongs to, on a cluster."""
    return crc32(run_id.encode()) % SHARDS


def sharded(key: str, shard: int) -> str:
    """One part of a key that all runs share; the parts with one number live in one slot."""
    return f"noukai:{{shard:{shard}}}:{key.removeprefix('noukai:')}"


def shared(key: str) -> bool:
    """Whether a key is one that all runs share."""
    return not key.startswith("noukai:{")


def run(run_id: str) -> str:
    """Hash: the run's state, lease, attempt, checkpoint position and request."""
    return f"noukai:{{{run_id}}}:run"


def log(run_id: str) -> str:
    """Stream: entry n has the id `n-0` and one field, `entry`, holding the JSON that was published."""
    return f"noukai:{{{run_id}}}:log"


def outputs(run_id: str) -> str:
    """Hash: step id → output (JSON), for the steps that are known to have finished. Gone when the run is completed or cancelled."""
    return f"noukai:{{{run_id}}}:outputs"


def tombstone(run_id: str) -> str:
    """String: outlives the run's other keys, so that an expired run can be told from one that never was."""
    return f"noukai:{{{run_id}}}:was"


def channel(run_id: str) -> str:
    """Pub/sub channel of the run's entries."""
    return f"noukai:{{{run_id}}}:events"


def gate(credential: str, name: str) -> str:
    """What decides when runs that use a credential may begin. All keys of one gate share a slot, which is not that of any run."""
    return f"noukai:{{credential:{credential}}}:{name}"
