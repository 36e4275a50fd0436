"""Celery's Redis transport with less of redis-py in it: one client for a connection pool, one trip for many messages.

kombu builds a client for each command, and travels three times for each message: to fetch it, to note that it was handed out,
and to note that it was acknowledged. Here a worker that fetches one takes those behind it along, and its acknowledgements
gather for a moment and go together. Keys and values in Redis are kombu's, so workers, enqueuers and Flower with
either transport work together.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from kombu.transport import redis as kombu
from kombu.utils.json import dumps, loads

if TYPE_CHECKING:
    from redis import Redis

_ALONG = 15
"""Messages that may be taken with another: few enough that workers share what comes in a burst."""

_GATHER = 0.02
"""Seconds in which acknowledgements gather."""

# Those taken along are noted as kombu would: what does not look like a message of kombu's is left for it to refuse.
_TAKE = """
local function note(tag, kept)
  redis.call('ZADD', KEYS[1], ARGV[1], tag)
  redis.call('HSET', KEYS[2], tag, kept)
end

note(ARGV[2], ARGV[3])
local along = {}
for n = 1, tonumber(ARGV[4]) do
  local raw = redis.call('LINDEX', KEYS[3], -1)
  if not raw then break end
  local read, tag, kept = pcall(function()
    local properties = cjson.decode(raw).properties
    local from = properties.delivery_info
    return properties.delivery_tag,
      '[' .. raw .. ', ' .. cjson.encode(from.exchange) .. ', ' .. cjson.encode(from.routing_key) .. ']'
  end)
  if not read or type(tag) ~= 'string' then break end
  redis.call('RPOP', KEYS[3])
  note(tag, kept)
  along[n] = raw
end
return along
"""

_FORGET = """
for _, tag in ipairs(ARGV) do
  redis.call('ZREM', KEYS[1], tag)
  redis.call('HDEL', KEYS[2], tag)
end
"""


class QoS(kombu.QoS):  # type: ignore[misc] # kombu has no types
    """The messages that were handed out: kept until they are acknowledged, for the case that this worker dies."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.along: deque[dict[str, Any]] = deque()
        """Messages that were taken with another, and noted, but not yet handed out."""
        self._noted: set[str] = set()
        self._done: deque[str] = deque()
        self._gathering = False

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message that was taken from its queue; some of those behind it may be taken along."""
        if delivery_tag in self._noted:
            self._noted.remove(delivery_tag)
        else:
            info = message.delivery_info
            kept = dumps([message._raw, info["exchange"], info["routing_key"]])
            along = self._run(
                _TAKE, (self.channel.taking_from(message),), time.time(), delivery_tag, kept, self._room()
            )
            self.along.extend(map(loads, along))
            self._noted.update(map(_tag, self.along))
        super(kombu.QoS, self).append(message, delivery_tag)

    def put_back(self) -> None:
        """Give what was taken along, and cannot be handed out, back to its queue."""
        while self.along:
            tag = _tag(self.along.pop())
            self._noted.discard(tag)
            self.restore_by_tag(tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that was done, in a moment.

        Should the worker die meanwhile, the message comes again, as if the acknowledgement had been lost on its way.
        """
        self._done.append(delivery_tag)
        super(kombu.QoS, self).ack(delivery_tag)
        transport = self.channel.connection
        if transport is None or not transport.in_its_loop:  # None: the worker has connected anew meanwhile
            self.forget()
        elif not self._gathering:
            self._gathering = True
            transport.loop.call_later(_GATHER, self.forget)

    def forget(self) -> None:
        """Send the acknowledgements that have gathered; should that fail, they go with the next."""
        self._gathering = False
        done = []
        while self._done:
            done.append(self._done.popleft())
        if not done:  # or the channel was closed meanwhile
            return
        try:
            self._run(_FORGET, (), *done)
        except BaseException:
            self._done.extend(done)
            raise

    def _room(self) -> int:
        """How many messages may be taken along: none by those who ask for one."""
        if self.channel._closing or self.channel.connection.loop is None:
            return 0
        limit = self.can_consume_max_estimate()
        return _ALONG if limit is None else max(0, min(_ALONG, limit - 1))

    def _run(self, script: str, keys: tuple[str, ...], *arguments: Any) -> Any:
        with self.channel.conn_or_acquire() as client:
            run = self.channel.script(client, script)
            return run(keys=(self.unacked_index_key, self.unacked_key, *keys), args=arguments)


def _tag(message: dict[str, Any]) -> str:
    tag: str = message["properties"]["delivery_tag"]
    return tag


class _Lists:
    """A pipeline in which the messages for one list are one command."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._key, self._messages = "", list[str]()

    def lpush(self, key: str, message: str) -> None:
        if key != self._key:
            self._push()
            self._key = key
        self._messages.append(message)

    def __getattr__(self, name: str) -> Any:
        self._push()
        return getattr(self._pipeline, name)

    def _push(self) -> None:
        if self._messages:
            self._pipeline.lpush(self._key, *self._messages)
            self._messages = []


class Channel(kombu.Channel):  # type: ignore[misc]
    """A channel whose commands share a client: it holds nothing but its pool, and takes 0.1 ms to build."""

    QoS = QoS
    _shared_client: Redis | None = None
    _scripts: dict[str, Any]

    def script(self, client: Redis, text: str) -> Any:
        """A script of that client."""
        found = self._scripts.get(text)
        if found is None:
            found = self._scripts[text] = client.register_script(text)
        return found

    def taking_from(self, message: Any) -> str:
        """The key of the list that a message, which is just being handed out, was taken from."""
        key: str = self._q_for_pri(self.connection.handing_out, self._get_message_priority(message._raw))
        return key

    def create_publish_batch(self, max_size: int) -> Any:
        """Messages that go together (kombu's)."""
        batch = super().create_publish_batch(max_size)
        batch.pipeline = _Lists(batch.pipeline)
        return batch

    def close(self) -> None:
        """Send what is still to be sent."""
        if not self.closed:
            with contextlib.suppress(*self.connection_errors):  # the messages come again
                self.qos.forget()
        super().close()

    def _brpop_read(self, **options: Any) -> Any:
        try:
            answer = super()._brpop_read(**options)
            queue = self.connection.handing_out
            while self.qos.along and self.qos.can_consume():
                self.connection._deliver(self.qos.along.popleft(), queue)
            return answer
        finally:
            self.qos.put_back()

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous)
        if self._shared_client is None or self._shared_client.connection_pool is not self.pool:
            self._shared_client, self._scripts = super()._create_client(), {}
        return self._shared_client


class Transport(kombu.Transport):  # type: ignore[misc]
    """What Celery is told to use for a broker on one Redis server (`broker_transport`)."""

    Channel = Channel
    handing_out = ""
    """The queue of the message that was handed out last."""
    loop: Any = None
    """The event loop (kombu's) of the worker that fetches messages."""
    _thread: int | None = None

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Fetch messages in a worker's event loop, in the thread of the caller."""
        self.loop, self._thread = loop, threading.get_ident()
        super().register_with_event_loop(connection, loop)

    @property
    def in_its_loop(self) -> bool:
        """Whether the caller is in the thread of the event loop."""
        return self._thread == threading.get_ident()

    def _deliver(self, message: Any, queue: str) -> None:
        self.handing_out = queue
        super()._deliver(message, queue)
