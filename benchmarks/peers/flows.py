"""What a user would write with Celery and the published SDK: a thread a flow, one PUBLISH per event.

A Celery app, started as `celery -A flows worker --pool threads`, in an environment of its own (both SDKs have one import name).
"""

from __future__ import annotations

import os

import redis
from celery import Celery

from noukai_sdk import Noukai

REDIS = os.environ["PEER_REDIS_URL"]
FLOWS_OF_A_CLIENT = 90
"""httpx, as the published SDK uses it, opens 100 connections at most; whoever comes then waits for one of them."""

app = Celery("flows", broker=REDIS)
app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True, task_ignore_result=True)
# A connection for each thread that publishes at this moment; the pool that redis-py makes by itself raises when there are too many.
publisher = redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(REDIS, max_connections=100))
clients = [
    Noukai("nk_test_benchmark", env="dev") for _ in range(-(-int(os.environ["PEER_FLOWS"]) // FLOWS_OF_A_CLIENT))
]


@app.task(name="flows.relay")
def relay(run: int, channel: str) -> None:
    client = clients[run % len(clients)]
    for event in client.flow("acme/demo/load").events(message="x", run_remaining=True):
        publisher.publish(channel, event.model_dump_json(by_alias=True))
