"""What one would write without us: Starlette, a pub/sub connection for each reader, each message an event. Nothing is recovered."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator

import redis.asyncio
import uvicorn
from redis.asyncio.client import PubSub
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route


def app(redis_url: str) -> Starlette:
    client = redis.asyncio.Redis.from_url(redis_url, max_connections=20_000)

    async def follow(request: Request) -> StreamingResponse:
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe(f"noukai:{{{request.path_params['run_id']}}}:events")
        return StreamingResponse(events(pubsub), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})

    return Starlette(routes=[Route("/{run_id}", follow)])


async def events(pubsub: PubSub) -> AsyncIterator[bytes]:
    try:
        async for message in pubsub.listen():
            yield b"data: " + message["data"] + b"\n\n"
            if b'"type":"run.completed"' in message["data"]:
                break
    finally:
        await pubsub.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--redis-url", required=True)
    options = parser.parse_args()
    uvicorn.run(app(options.redis_url), host="127.0.0.1", port=options.port, timeout_graceful_shutdown=1)
