"""Our Redis transport keeps Celery's messages as kombu's own does, key for key."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
import redis
from kombu import Connection, Exchange, Queue

from noukai_worker.tasks.conf import TRANSPORT

pytestmark = pytest.mark.integration
QUEUE = Queue("letters", Exchange("letters"), routing_key="letters")


def kept(client: Any) -> list[Any]:
    """What is kept of the messages that were handed out, without what differs from one to the next."""
    index, bodies = client.zrange("unacked_index", 0, -1), client.hgetall("unacked")
    assert sorted(index) == sorted(bodies)
    found = []
    for tag, body in bodies.items():
        message, exchange, routing_key = json.loads(body)
        assert message["properties"]["delivery_tag"] == tag.decode()
        message["properties"] = sorted(message["properties"])
        found.append([message, exchange, routing_key])
    return found


@pytest.fixture(params=[None, TRANSPORT], ids=["kombu", "ours"])
def connection(request: pytest.FixtureRequest, redis_server: Any) -> Any:
    with Connection(redis_server.url, transport=request.param) as connection:
        yield connection


@pytest.fixture
def client(redis_server: Any) -> Any:
    with contextlib.closing(redis.Redis.from_url(redis_server.url)) as client:
        client.flushall()
        yield client


def test_a_message_is_kept_until_it_is_acknowledged(connection: Connection, client: Any) -> None:
    with connection.SimpleQueue(QUEUE) as queue:
        for n in range(3):
            queue.put({"n": n})
        messages = [queue.get(timeout=10) for _ in range(3)]
        assert client.llen("letters") == 0
        assert [[body, *rest] for body, *rest in kept(client)] == kept(client)
        (first, exchange, routing_key), *others = kept(client)
        assert (exchange, routing_key, len(others)) == ("letters", "letters", 2)
        assert set(first) == {"body", "content-encoding", "content-type", "headers", "properties"}
        messages[0].ack()
        assert len(kept(client)) == 2
        messages[1].reject()
        assert len(kept(client)) == 1
        messages[2].requeue()
        assert (kept(client), client.llen("letters")) == ([], 1)
        assert queue.get(timeout=10).payload == {"n": 2}
    # Nobody acknowledged the last one: it is there for the next worker.
    connection.release()
    assert (client.exists("unacked"), client.llen("letters")) == (0, 1)


def test_what_one_kept_the_other_restores(redis_server: Any, client: Any) -> None:
    for takes, finds in ((None, TRANSPORT), (TRANSPORT, None)):
        taker = Connection(redis_server.url, transport=takes)
        queue = taker.SimpleQueue(QUEUE)
        queue.put("x")
        message = queue.get(timeout=10)
        with Connection(redis_server.url, transport=finds, transport_options={"visibility_timeout": 0}) as finder:
            finder.default_channel.qos.restore_visible()
            assert kept(client) == []
            again = finder.SimpleQueue(QUEUE).get(timeout=10)
            assert again.payload == "x"
            again.ack()
        message.ack()
        taker.release()


def test_scripts_that_the_server_forgot_are_sent_again(redis_server: Any, client: Any) -> None:
    with Connection(redis_server.url, transport=TRANSPORT) as connection, connection.SimpleQueue(QUEUE) as queue:
        for _ in range(2):
            queue.put("x")
            message = queue.get(timeout=10)
            client.script_flush()
            message.ack()
        assert kept(client) == []
