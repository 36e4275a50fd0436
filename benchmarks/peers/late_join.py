"""What one would write to follow a run from its beginning, by docs/channel.md: subscribe, page through the log, then listen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import redis

_PAGE = 500


def entries(client: redis.Redis, run_id: str) -> Iterator[dict[str, Any]]:
    """All entries, to the end of the run."""
    with client.pubsub() as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe(f"noukai:{{{run_id}}}:events")
        pubsub.get_message(timeout=5)
        position = 0
        while page := client.xrange(f"noukai:{{{run_id}}}:log", f"{position + 1}-0", "+", count=_PAGE):
            for _, fields in page:
                entry = json.loads(fields[b"entry"])
                position = entry["seq"]
                yield entry
        for message in pubsub.listen():
            if message["type"] == "message":
                entry = json.loads(message["data"])
                if entry["seq"] > position:
                    position = entry["seq"]
                    yield entry
                    if entry["type"] in ("run.completed", "run.failed", "run.cancelled"):
                        return
