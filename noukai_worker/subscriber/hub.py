"""One pub/sub connection and one small store for any number of readers in an event loop.

Four tasks serve all readers: `_listen` reads the connection and fans out, `_tell` is the only one that writes to it, `_patrol`
looks at the logs of silent runs, and `Asker.run` reads the store for everybody. There is no task per reader or per message.

When the connection breaks nobody is told: after the new one has confirmed its subscriptions each run's log is looked at, and
readers who missed something read it there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import TypeVar

from redis.exceptions import RedisError

from ..errors import NoukaiWorkerError, StoreUnavailable
from ..runs import AsyncRunStore, operations
from ..runs.operations import Operation
from ..runs.store import unavailable
from . import patience
from .asker import Asker
from .bell import AsyncBell
from .patience import Patience
from .reader import Reader
from .topic import Topic

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SUBSCRIBE_AT_ONCE = 500
_LOOK_AT_ONCE = 100
_SILENT_CHECKS = 3


class Hub:
    """Gives readers to coroutines of one event loop. `buffer` is the entries held per run for readers who lag a little.

    `check` and `patience` are in seconds (patience.py). Nothing is opened before the first reader attaches.
    """

    def __init__(
        self,
        url: str,
        *,
        buffer: int = 1_000,
        check: float = patience.CHECK,
        patience: float = patience.PATIENCE,
    ) -> None:
        self._store = AsyncRunStore(url)
        self._asker = Asker(self._store)
        self.loop: asyncio.AbstractEventLoop
        self.patience = patience
        self.stopping: StoreUnavailable | None = None
        self._bell = AsyncBell(url)
        self._buffer, self._check = buffer, check
        self._topics: dict[bytes, Topic] = {}
        self._outbox: list[tuple[str, bytes]] = []
        self._to_tell = asyncio.Event()
        self._suspects: set[Topic] = set()
        self._to_look = asyncio.Event()
        self._heard = False
        self._silence: asyncio.Timeout | None = None
        self._main: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether no reader is attached."""
        return not self._topics

    async def perform(self, operation: Operation[T]) -> T:
        """Carry out one operation, in one trip with what others ask. Raises StoreUnavailable, and what the operation raises."""
        self._start()
        return operation.decode(await self._asker.ask(operation))

    def join(self, run_id: str, after: int) -> Reader:
        """A new reader of a run; what it is given begins after `after`. It must `leave`."""
        self._start()
        topic = Topic(run_id, self._buffer)
        known = self._topics.setdefault(topic.channel, topic)
        if known is topic:
            self._say("SUBSCRIBE", topic.channel)
        return Reader(self, known, after)

    def leave(self, topic: Topic) -> None:
        """The last reader of a run has left (called by the reader)."""
        if self._topics.get(topic.channel) is topic:
            del self._topics[topic.channel]
            self._suspects.discard(topic)
            self._say("UNSUBSCRIBE", topic.channel)

    def stop(self) -> None:
        """End all readers with StoreUnavailable, at once; new ones are refused. For a process that is about to exit."""
        self.stopping = StoreUnavailable(self._store.address, "the hub of this process was closed")
        self._fail(self.stopping)

    def close(self) -> None:
        """Stop, and begin to close the connections."""
        self.stop()
        if self._main is not None:
            self._main.cancel()

    async def aclose(self) -> None:
        """Stop, and close the connections."""
        self.close()
        if self._main is not None:
            await asyncio.wait([self._main])
        await self._store.aclose()

    def _start(self) -> None:
        if self.stopping:
            raise self.stopping
        if self._main is None:
            self.loop = asyncio.get_running_loop()
            self._main = asyncio.create_task(self._serve(), name="noukai hub")

    def _fail(self, error: StoreUnavailable) -> None:
        self._asker.fail(error)
        for topic in self._topics.values():
            for reader in topic.readers:
                reader.error = error
            topic.wake()

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._asker.run())
                tasks.create_task(self._listen())
                tasks.create_task(self._tell())
                tasks.create_task(self._patrol())
        except* Exception:  # a mistake in here must not leave readers waiting for ever
            logger.exception("the hub broke down; its readers are told")
            self.stop()
        finally:
            self._asker.fail(StoreUnavailable(self._store.address, "the hub was closed"))
            await self._bell.aclose()
            await self._store.aclose()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        calm = Patience(float("inf"), loop.time)
        while True:
            try:
                await self._bell.connect()
                self._outbox = [("SUBSCRIBE", channel) for channel in self._topics]
                self._to_tell.set()
                calm.succeeded()
                try:
                    await self._until_silent()
                finally:
                    self._silence = None
            except (RedisError, OSError) as error:
                pause = calm.failed(unavailable(self._store.address, error))
                if calm.first:
                    logger.warning("no pub/sub connection to %s (%s): readers use the log", self._store.address, error)
                for topic in self._topics.values():
                    topic.confirmed.clear()
                await self._bell.aclose()
                await asyncio.sleep(pause)

    async def _until_silent(self) -> None:
        topics, receive = self._topics, self._bell.receive
        async with asyncio.timeout(_SILENT_CHECKS * self._check) as self._silence:
            while True:
                message = await receive()
                self._heard = True
                topic = topics.get(message[1]) if len(message) > 2 else None
                if topic is None:
                    continue
                if message[0] == b"message":
                    if not topic.ring(message[2]):
                        self._suspect(topic)
                elif message[0] == b"subscribe" and topic.confirm():
                    self._suspect(topic)

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
                for words in _commands(outbox):
                    if self._bell.connected:
                        await self._bell.send(*words)

    async def _patrol(self) -> None:
        loop = asyncio.get_running_loop()
        calm = Patience(self.patience, loop.time)
        self._next_check = loop.time() + self._check
        while True:
            suspects = await self._next_suspects()
            try:
                for start in range(0, len(suspects), _LOOK_AT_ONCE):
                    await self._look_at(suspects[start : start + _LOOK_AT_ONCE])
                calm.succeeded()
            except StoreUnavailable as error:
                self._suspects.update(suspects)
                try:
                    await asyncio.sleep(calm.failed(error))
                except StoreUnavailable:
                    self._fail(error)

    async def _next_suspects(self) -> list[Topic]:
        now = asyncio.get_running_loop().time
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._next_check):
                await self._to_look.wait()
        self._to_look.clear()
        if now() >= self._next_check:
            self._next_check = now() + self._check
            self._check_bell(now() + _SILENT_CHECKS * self._check)
            for topic in self._topics.values():
                topic.trim()
                if topic.silent():
                    self._suspects.add(topic)
        suspects, self._suspects = self._suspects, set()
        return [topic for topic in suspects if topic.readers]

    def _check_bell(self, silent_until: float) -> None:
        if self._heard and self._silence and not self._silence.expired():
            self._silence.reschedule(silent_until)
        self._heard = False
        self._say("PING")

    async def _look_at(self, topics: list[Topic]) -> None:
        looks = [operations.read(topic.run_id, after=topic.window.newest, limit=1) for topic in topics]
        answers = await asyncio.gather(*map(self._asker.ask, looks))
        for topic, look, answer in zip(topics, looks, answers, strict=True):
            try:
                topic.know(look.decode(answer).last)
            except (NoukaiWorkerError, ValueError, LookupError):
                # Expired, shorter than it was, unreadable: each reader asks for itself, and gets the error of its position.
                topic.distrust()

    def _suspect(self, topic: Topic) -> None:
        self._suspects.add(topic)
        self._to_look.set()


def _commands(outbox: Iterable[tuple[str, bytes]]) -> Iterable[list[str | bytes]]:
    """Neighbours with the same word as one command: SUBSCRIBE takes many channels."""
    words: list[str | bytes] = []
    for word, channel in outbox:
        if words and (words[0] != word or len(words) > _SUBSCRIBE_AT_ONCE):
            yield words
            words = []
        if not words:
            words.append(word)
        words.append(channel)
    if words:
        yield words
