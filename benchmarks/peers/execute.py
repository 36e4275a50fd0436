"""What a user would write with Celery and the published SDK: a task that acks late, with one client for all threads.

Runs in an environment of its own (both SDKs have one import name), as `celery -A execute worker --pool threads -c 64 -Q peer`.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from noukai_sdk import Noukai

app = Celery("peer", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, worker_hijack_root_logger=True)
client = Noukai("nk_test_benchmark", env="dev")


@app.task(name="peer.execute", bind=True, autoretry_for=(ConnectionError,), max_retries=8, retry_backoff=True)
def execute(self: Any, flow: str, message: str) -> Any:  # noqa: ARG001
    return client.flow(flow).execute(message).result
