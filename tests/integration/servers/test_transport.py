"""Our Redis transport keeps Celery's messages as kombu's own does, key for key."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from kombu import Connection, Exchange, Queue
from kombu.asynchronous import Hub

from noukai_worker.tasks.conf import TRANSPORT
from tests.support.processes import until

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


class Worker:
    """Consumes as a Celery worker does: in an event loop, so many messages at a time."""

    def __init__(self, url: str, hub: Any, *, prefetch: int) -> None:
        self.messages: list[Any] = []
        self.connection = Connection(url, transport=TRANSPORT)
        self.channel = self.connection.default_channel
        consumer = self.connection.Consumer(
            [QUEUE], callbacks=[lambda _, message: self.take(message)], auto_declare=True
        )
        consumer.qos(prefetch_count=prefetch)
        consumer.consume()
        self.connection.register_with_event_loop(hub)
        self._turns = hub.create_loop()

    def take(self, message: Any) -> None:
        self.messages.append(message)

    def until(self, true: Callable[[], bool]) -> None:
        until(lambda: true() or next(self._turns), "the worker's loop has come so far")

    @property
    def bodies(self) -> list[Any]:
        return [message.payload for message in self.messages]


@pytest.fixture
def start(redis_server: Any) -> Any:
    """Starts a worker."""
    hub, workers = Hub(), []

    def started(*, prefetch: int = 0) -> Worker:
        workers.append(Worker(redis_server.url, hub, prefetch=prefetch))
        return workers[-1]

    yield started
    for worker in workers:
        worker.connection.release()
    hub.close()


def put(url: str, bodies: Iterable[Any], **properties: Any) -> None:
    with Connection(url) as connection, connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, exchange=QUEUE.exchange, routing_key="letters", declare=[QUEUE], **properties)


def test_a_burst_is_taken_in_its_order_and_as_far_as_there_is_room(redis_server: Any, client: Any, start: Any) -> None:
    put(redis_server.url, range(60))
    worker = start(prefetch=40)
    worker.until(lambda: len(worker.messages) >= 40)
    assert (worker.bodies, client.llen("letters"), len(kept(client))) == (list(range(40)), 20, 40)
    # Noted as kombu does it, whether taken first or along.
    assert len({json.dumps([message["properties"], *place]) for message, *place in kept(client)}) == 1
    # Room is made for two: no more are taken.
    for message in worker.messages[:2]:
        message.ack()
    worker.until(lambda: len(worker.messages) >= 42)
    worker.until(lambda: len(kept(client)) == 40)
    assert (worker.bodies[-2:], client.llen("letters"), len(worker.messages)) == ([40, 41], 18, 42)
    worker.connection.release()
    assert (client.exists("unacked"), client.llen("letters")) == (0, 58)


def test_what_is_taken_along_has_the_same_priority(redis_server: Any, client: Any, start: Any) -> None:
    for priority in (9, 0, 3):
        put(redis_server.url, [priority] * 20, priority=priority)
    client.config_resetstat()
    worker = start()
    worker.until(lambda: len(worker.messages) >= 60)
    assert worker.bodies == sorted(worker.bodies)
    assert client.info("commandstats")["cmdstat_brpop"]["calls"] <= 7  # two for each, and one that waits
    worker.connection.release()


def test_acknowledgements_go_together(redis_server: Any, client: Any, start: Any) -> None:
    put(redis_server.url, range(5))
    worker = start()
    worker.until(lambda: len(worker.messages) >= 5)
    worker.messages[0].ack()
    worker.messages[1].ack()
    assert len(kept(client)) == 5
    worker.until(lambda: len(kept(client)) != 5)
    assert len(kept(client)) == 3
    # From another thread: at once.
    with ThreadPoolExecutor() as threads:
        threads.submit(worker.messages[2].ack).result()
    assert len(kept(client)) == 2
    # At its end: with it.
    worker.messages[3].ack()
    worker.connection.release()
    assert (client.exists("unacked"), client.llen("letters")) == (0, 1)


def test_acknowledgements_that_fail_go_with_the_next(redis_server: Any, client: Any, start: Any) -> None:
    put(redis_server.url, range(4))
    worker = start()
    worker.until(lambda: len(worker.messages) >= 4)

    client.rename("unacked_index", "away")
    client.set("unacked_index", "what no script expects")
    client.config_resetstat()
    worker.messages[0].ack()
    worker.messages[1].ack()
    worker.until(lambda: "errorstat_WRONGTYPE" in client.info("errorstats"))
    client.rename("away", "unacked_index")
    assert len(kept(client)) == 4
    worker.messages[2].ack()
    worker.until(lambda: len(kept(client)) == 1)
    worker.connection.release()
    assert (client.exists("unacked"), client.llen("letters")) == (0, 1)


def test_a_worker_that_ends_takes_nothing_along(redis_server: Any, client: Any, start: Any) -> None:
    worker = start()
    worker.channel.brpop_timeout = 60
    worker.until(lambda: client.info("clients")["blocked_clients"] == 1)
    put(redis_server.url, range(5))
    assert client.llen("letters") == 4  # one is on its way
    worker.connection.release()
    assert worker.bodies == [0]
    assert (client.exists("unacked"), client.llen("letters")) == (0, 5)


def test_what_cannot_be_handed_out_goes_back_in_its_order(redis_server: Any, client: Any, start: Any) -> None:
    put(redis_server.url, range(10))
    worker = start()
    worker.take = lambda message: list.append(worker.messages, message) if len(worker.messages) < 4 else 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        worker.until(lambda: False)
    assert (worker.bodies, len(kept(client))) == ([0, 1, 2, 3], 5)
    with Connection(redis_server.url) as connection, connection.SimpleQueue(QUEUE) as queue:
        messages = [queue.get(timeout=10) for _ in range(5)]
        assert [message.payload for message in messages] == [5, 6, 7, 8, 9]
        for message in messages:
            message.ack()
    worker.connection.release()
    assert (client.exists("unacked"), client.llen("letters")) == (0, 5)


@pytest.mark.parametrize("stray", ["stray", "7", "{}", json.dumps({"properties": {"delivery_info": {}}})])
def test_what_is_no_message_is_left_for_kombu_to_refuse(redis_server: Any, client: Any, start: Any, stray: str) -> None:
    put(redis_server.url, [0])
    client.lpush("letters", stray)
    worker = start()
    worker.until(lambda: len(worker.messages) >= 1)
    assert (len(kept(client)), client.llen("letters")) == (1, 1)
    worker.connection.release()


def test_messages_that_go_together_are_one_command_for_each_list(redis_server: Any, client: Any) -> None:
    sent = [(n, priority) for priority in (0, 9) for n in range(40)]
    with Connection(redis_server.url, transport=TRANSPORT) as connection, connection.Producer() as producer:
        QUEUE(connection.default_channel).declare()
        client.config_resetstat()
        with producer.batch(max_size=1000):
            for n, priority in sent:
                producer.publish([n, priority], exchange=QUEUE.exchange, routing_key="letters", priority=priority)
            assert client.llen("letters") == 0
        assert client.info("commandstats")["cmdstat_lpush"]["calls"] == 2
        with connection.SimpleQueue(QUEUE) as queue:
            messages = [queue.get(timeout=10) for _ in sent]
            assert [tuple(message.payload) for message in messages] == sent
            for message in messages:
                message.ack()


def test_a_message_may_be_acknowledged_when_its_channel_is_gone(redis_server: Any, client: Any, start: Any) -> None:
    """As when a task ends after its worker has connected anew: the message is then twice, and this one is none's."""
    put(redis_server.url, [0])
    worker = start()
    worker.until(lambda: len(worker.messages) >= 1)
    worker.connection.release()
    worker.messages[0].ack()
    assert (client.exists("unacked"), client.llen("letters")) == (0, 1)
