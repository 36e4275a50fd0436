"""One reader of one run on a hub: attaches without a hole, then hands out entries in pages, from the window or from the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import StoreUnavailable
from ..runs import Entry, operations
from .alarm import Alarm
from .patience import FIRST_PATIENCE, Patience
from .topic import Topic
from .window import Cursor

if TYPE_CHECKING:
    from .hub import Hub

_CONFIRMED_WITHIN = 2.0


class Reader:
    """Made by `Hub.join`; `leave` when done."""

    __slots__ = ("_alarm", "_news", "_patience", "_topic", "cursor", "error", "hub", "left")

    def __init__(self, hub: Hub, topic: Topic, after: int) -> None:
        self.hub, self._topic = hub, topic
        self._patience = Patience(min(FIRST_PATIENCE, hub.patience), hub.loop.time)
        self.cursor = Cursor(topic.window, after)
        self.error: StoreUnavailable | None = None
        """Set by the hub when it gives up."""
        self.left = False
        self._alarm = Alarm(hub.loop, self._give_up)
        self._news: asyncio.Future[bool] | None = None
        topic.readers.add(self)

    @property
    def ended(self) -> bool:
        """Whether there will be nothing more."""
        return self.cursor.ended

    async def page(self, within: float | None = None) -> Sequence[Entry]:
        """The next entries, at least one; none if the run has `ended`, or after `within` seconds of silence.

        Raises RunNotFound, RunExpired, PositionAhead, EntriesTrimmed, StoreUnavailable. May be cancelled and called again.
        """
        cursor, topic = self.cursor, self._topic
        if cursor.unread and not topic.confirmed.is_set():
            await self._confirmation()
        while not (cursor.ended or self.left):
            if self.error:
                raise self.error
            entries = cursor.take()
            if not entries and cursor.behind:
                entries = await self._read()
            if entries:
                if len(topic.readers) == 1:
                    topic.window.forget(cursor.position)
                return entries
            if cursor.idle and not await self._wait(within):
                break
        return ()

    def leave(self) -> None:
        """Stop reading: a `page` that is waiting returns nothing. May be called again."""
        if not self.left:
            self.left = True
            self._alarm.close()
            self._topic.readers.discard(self)
            self._topic.wake()
            if not self._topic.readers:
                self.hub.leave(self._topic)

    async def _wait(self, within: float | None) -> bool:
        self._news = news = self._topic.news()
        if within is not None:
            self._alarm.set(within)
        try:
            return await news
        finally:
            self._alarm.clear()
            self._topic.dismiss(news)

    def _give_up(self) -> None:
        if self._news and not self._news.done():
            self._news.set_result(False)

    async def _confirmation(self) -> None:
        # Without it the log alone has to do; the hub has it looked at again once the subscription is in force.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CONFIRMED_WITHIN):
                await self._topic.confirmed.wait()

    async def _read(self) -> Sequence[Entry]:
        while True:
            look = operations.read(self._topic.run_id, after=self.cursor.position, limit=self.cursor.limit)
            try:
                page = await self.hub.perform(look)
            except StoreUnavailable as error:
                await asyncio.sleep(self._patience.failed(error))
                if self.error:
                    raise self.error from error
            else:
                self._patience.succeeded()
                self._patience.limit = self.hub.patience
                return self.cursor.fill(page)
