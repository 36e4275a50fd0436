"""One pub/sub connection and one small store for any number of readers in an event loop.

A few tasks serve all readers: each `Line` (one; on a cluster one for each node that has runs with readers) listens to a connection
and fans out, `_place` finds the line of each run, `_patrol` looks at the logs of silent runs, and `Asker.run` reads the store for
everybody. There is no task per reader or per message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import TypeVar

from ..errors import NoukaiWorkerError, StoreUnavailable
from ..redis_url import Kind, RedisUrl
from ..runs import AsyncRunStore, keys, operations
from ..runs.connections import Node
from ..runs.operations import Operation
from . import patience
from .asker import Asker
from .line import Line
from .patience import Patience
from .reader import Reader
from .topic import Topic

T = TypeVar("T")

logger = logging.getLogger(__name__)

_LOOK_AT_ONCE = 100
_RELOCATE_AFTER = 0.1


class Hub:
    """Gives readers to coroutines of one event loop. `buffer` is the entries held per run for readers who lag a little.

    Readers are told of an entry at once, but then not again for `gather` seconds: what comes meanwhile they get in one piece.
    `check` and `patience` are in seconds, too (patience.py). Nothing is opened before the first reader attaches.
    """

    def __init__(
        self,
        url: str,
        *,
        buffer: int = 1_000,
        gather: float = 0.0,
        check: float = patience.CHECK,
        patience: float = patience.PATIENCE,
    ) -> None:
        self._store = AsyncRunStore(url)
        self._asker = Asker(self._store)
        self.loop: asyncio.AbstractEventLoop
        self.patience = patience
        self.stopping: StoreUnavailable | None = None
        self._url = RedisUrl.parse(url)
        self._buffer, self._gather, self._check = buffer, gather, check
        self._topics: dict[bytes, Topic] = {}
        self._lines: dict[Node | None, Line] = {}
        self._homeless: set[Topic] = set()
        self._to_place = asyncio.Event()
        self._suspects: set[Topic] = set()
        self._to_look = asyncio.Event()
        self._tasks: asyncio.TaskGroup
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
        topic = Topic(run_id, self._buffer, self.loop, self._gather)
        known = self._topics.setdefault(topic.channel, topic)
        if known is topic:
            self._to_home({topic})
        return Reader(self, known, after)

    def leave(self, topic: Topic) -> None:
        """The last reader of a run has left (called by the reader)."""
        if self._topics.get(topic.channel) is topic:
            del self._topics[topic.channel]
            self._suspects.discard(topic)
            topic.move_to(None)

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
        self._tell_readers(error, self._topics.values())

    def _tell_readers(self, error: StoreUnavailable, topics: Iterable[Topic]) -> None:
        for topic in topics:
            for reader in topic.readers:
                reader.error = error
            topic.wake()

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._asker.run())
                self._tasks.create_task(self._place())
                self._tasks.create_task(self._patrol())
        except* Exception:  # a mistake in here must not leave readers waiting for ever
            logger.exception("the hub broke down; its readers are told")
            self.stop()
        finally:
            self._asker.fail(StoreUnavailable(self._store.address, "the hub was closed"))
            await self._store.aclose()

    async def _place(self) -> None:
        calm = Patience(float("inf"), asyncio.get_running_loop().time)
        while True:
            await self._to_place.wait()
            self._to_place.clear()
            homeless, self._homeless = self._homeless, set()
            try:
                while homeless:
                    topic = homeless.pop()
                    if topic.readers:
                        try:
                            node = await self._store.node(keys.channel(topic.run_id))
                        except StoreUnavailable:
                            homeless.add(topic)
                            raise
                        topic.move_to(self._line(node))
                calm.succeeded()
            except StoreUnavailable as error:
                self._homeless |= homeless
                await asyncio.sleep(calm.failed(error))
                self._to_place.set()

    def _line(self, node: Node | None) -> Line:
        line = self._lines.get(node)
        if line is None:
            line = self._lines[node] = Line(
                self._url, node, check=self._check, suspect=self._suspect, displaced=self._displace
            )
            self._tasks.create_task(self._hold(node, line))
        return line

    async def _hold(self, node: Node | None, line: Line) -> None:
        await line.run()
        del self._lines[node]
        self._displace(line.topics.values())

    def _displace(self, topics: Iterable[Topic]) -> None:
        # In a moment: a cluster in the middle of a change does not know better yet.
        self._store.misplaced()
        asyncio.get_running_loop().call_later(_RELOCATE_AFTER, self._to_home, set(topics))

    def _to_home(self, topics: set[Topic]) -> None:
        self._homeless |= topics
        self._to_place.set()

    async def _patrol(self) -> None:
        loop = asyncio.get_running_loop()
        calm = Patience(self.patience, loop.time)
        self._next_check = loop.time() + self._check
        while True:
            suspects = await self._next_suspects()
            failed: dict[Topic, StoreUnavailable] = {}
            for start in range(0, len(suspects), _LOOK_AT_ONCE):
                failed |= await self._look_at(suspects[start : start + _LOOK_AT_ONCE])
            if not failed:
                calm.succeeded()
                continue
            self._suspects.update(failed)
            error = next(iter(failed.values()))
            try:
                await asyncio.sleep(calm.failed(error))
            except StoreUnavailable:
                if self._url.kind is Kind.CLUSTER:  # the other nodes may be well
                    self._tell_readers(error, failed)
                else:
                    self._fail(error)

    async def _next_suspects(self) -> list[Topic]:
        now = asyncio.get_running_loop().time
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._next_check):
                await self._to_look.wait()
        self._to_look.clear()
        if now() >= self._next_check:
            self._next_check = now() + self._check
            for line in self._lines.values():
                line.check()
            for topic in self._topics.values():
                topic.trim()
                if topic.silent():
                    self._suspects.add(topic)
        suspects, self._suspects = self._suspects, set()
        return [topic for topic in suspects if topic.readers]

    async def _look_at(self, topics: list[Topic]) -> dict[Topic, StoreUnavailable]:
        """Look at the logs; the runs whose log could not be asked, with the reason."""
        looks = [operations.read(topic.run_id, after=topic.window.newest, limit=1) for topic in topics]
        answers = await asyncio.gather(*map(self._asker.ask, looks), return_exceptions=True)
        failed: dict[Topic, StoreUnavailable] = {}
        for topic, look, answer in zip(topics, looks, answers, strict=True):
            if isinstance(answer, StoreUnavailable):
                failed[topic] = answer
                continue
            try:
                topic.know(look.decode(answer).last)
            except (NoukaiWorkerError, ValueError, LookupError):
                # Expired, shorter than it was, unreadable: each reader asks for itself, and gets the error of its position.
                topic.distrust()
        return failed

    def _suspect(self, topic: Topic) -> None:
        self._suspects.add(topic)
        self._to_look.set()
