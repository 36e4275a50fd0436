"""One pub/sub connection for many runs: all of them, or on a cluster those of one node. It reconnects by itself.

When it breaks nobody is told: after the new connection has confirmed its subscriptions each run's log is looked at, and readers
who missed something read it there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from redis.exceptions import MovedError, RedisError

from ..redis_url import RedisUrl
from ..runs.connections import Node
from ..runs.store import unavailable
from .bell import MESSAGE, MOVED_AWAY, SUBSCRIBED, AsyncBell
from .patience import Patience
from .topic import Topic

logger = logging.getLogger(__name__)

SILENT_CHECKS = 3


class Line:
    """`run` is the task that listens. It tells `suspect` of runs whose log has to be looked at, `displaced` of those that may have
    to go to another line: `node` has failed, or lost their slot. Without a `node` there is no other line, and it only reconnects.
    """

    def __init__(
        self,
        url: RedisUrl,
        node: Node | None,
        *,
        check: float,
        suspect: Callable[[Topic], None],
        displaced: Callable[[Iterable[Topic]], None],
    ) -> None:
        self.topics: dict[bytes, Topic] = {}
        self._bell = AsyncBell(url, node)
        self._node = node
        self._address = f"{node[0]}:{node[1]}" if node else url.shown
        self._check = check
        self._suspect, self._displaced = suspect, displaced
        self._outbox: list[tuple[str, bytes]] = []
        self._to_tell = asyncio.Event()
        self._heard = False
        self._silence: asyncio.Timeout | None = None

    def add(self, topic: Topic) -> None:
        """Listen for a run."""
        self.topics[topic.channel] = topic
        self._say("SUBSCRIBE", topic.channel)

    def remove(self, topic: Topic) -> None:
        """No longer listen for it."""
        topic.confirmed.clear()
        if self.topics.get(topic.channel) is topic:
            del self.topics[topic.channel]
            self._say("UNSUBSCRIBE", topic.channel)

    def check(self) -> None:
        """Called every `check` seconds: a line that has heard nothing for long enough is a dead one."""
        if self._heard and self._silence and not self._silence.expired():
            self._silence.reschedule(asyncio.get_running_loop().time() + SILENT_CHECKS * self._check)
        self._heard = False
        self._say("PING")

    async def run(self) -> None:
        """Listen until cancelled, or until the node of a cluster has failed and no run needs it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(self._tell())
                await self._listen()
                telling.cancel()
        finally:
            await self._bell.aclose()

    async def _listen(self) -> None:
        calm = Patience(float("inf"), asyncio.get_running_loop().time)
        while True:
            try:
                await self._bell.connect()
                self._outbox = [("SUBSCRIBE", channel) for channel in self.topics]
                self._to_tell.set()
                calm.succeeded()
                try:
                    await self._until_silent()
                finally:
                    self._silence = None
            except (RedisError, OSError) as error:
                pause = calm.failed(unavailable(self._address, error))
                if calm.first:
                    logger.warning("no pub/sub connection to %s (%s): readers use the log", self._address, error)
                for topic in self.topics.values():
                    topic.confirmed.clear()
                await self._bell.aclose()
                if self._node:
                    self._displaced(list(self.topics.values()))
                await asyncio.sleep(pause)
                if self._node and not self.topics:
                    return

    async def _until_silent(self) -> None:
        topics, receive = self.topics, self._bell.receive
        async with asyncio.timeout(SILENT_CHECKS * self._check) as self._silence:
            while True:
                try:
                    message = await receive()
                except MovedError as error:
                    self._displaced([topic for topic in topics.values() if topic.slot == error.slot_id])
                    continue
                self._heard = True
                topic = topics.get(message[1]) if len(message) > 2 else None
                if topic is None:
                    continue
                if message[0] in MESSAGE:
                    if not topic.ring(message[2]):
                        self._suspect(topic)
                elif message[0] in SUBSCRIBED:
                    if topic.confirm():
                        self._suspect(topic)
                elif message[0] == MOVED_AWAY:
                    self._displaced([topic])

    def _say(self, word: str, channel: bytes = b"") -> None:
        self._outbox.append((word, channel))
        self._to_tell.set()

    async def _tell(self) -> None:
        while True:
            await self._to_tell.wait()
            self._to_tell.clear()
            outbox, self._outbox = self._outbox, []
            # What cannot be sent is lost: a new connection subscribes to everything anyway.
            with suppress(RedisError, OSError):
                if self._bell.connected:
                    await self._bell.send(outbox)
