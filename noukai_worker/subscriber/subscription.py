"""What a subscriber holds: the entries of one run, for `async for` or `for`, from a position to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Self

from ..errors import InvalidRequest
from ..runs import Entry
from ..settings import current
from .hub import Hub
from .listener import listen
from .reader import Reader

_hubs: dict[asyncio.AbstractEventLoop, dict[str, Hub]] = {}


def subscribe(run_id: str, *, after: int = 0, redis_url: str | None = None) -> Subscription:
    """The entries of a run after a position, as they are written, up to and including the terminal one.

    Works in `async for` (all subscriptions of an event loop share one hub and its connection) and in `for` (a connection of its
    own). `after` is the seq of the last entry that is already known; 0 gives the whole log. Raises InvalidRequest at once;
    iterating raises RunNotFound, RunExpired, PositionAhead, EntriesTrimmed, or StoreUnavailable once Redis has been away too long.
    """
    return Subscription(run_id, after=after, redis_url=redis_url)


class Subscription:
    """One reader's way through a run: an iterator, either way. Leaving a loop and coming back goes on where it stopped.

    It attaches when first asked. It lets go at the end, on `close` or `aclose`, and when it is dropped. With a `hub` it reads
    through that one, otherwise through one that lives as long as this event loop has subscriptions.
    """

    _reader: Reader | None = None

    def __init__(self, run_id: str, *, after: int = 0, redis_url: str | None = None, hub: Hub | None = None) -> None:
        _check(run_id, after)
        self.run_id = run_id
        self._after = after
        self._last: Entry | None = None
        self._over = False
        self._redis_url = redis_url
        self._hub = hub
        self._pages: Generator[list[Entry]] | None = None
        self._ready: list[Entry] | None = None
        """What was read and not handed out, the next entry last: each is let go of when it is handed out."""

    @property
    def position(self) -> int:
        """The seq of the last entry that was handed out."""
        return self._after if self._last is None else self._last.seq

    @property
    def ended(self) -> bool:
        """Whether there will be nothing more: the terminal entry has been handed out, now or before."""
        return self._over or (self._last is not None and self._last.terminal)

    async def open(self) -> Sequence[Entry]:
        """Attach now and return what the log has, so that errors are known before anything is promised to anybody."""
        return await self.page(0.0)

    async def page(self, within: float | None = None) -> Sequence[Entry]:
        """All entries that are there, at least one; none if the run has `ended`, after `within` seconds of silence or `close`."""
        ready, self._ready = self._ready, None
        entries = ready[::-1] if ready else await self._fetch(within)
        if entries:
            self._last = entries[-1]
        return entries

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        ready = self._ready
        if not ready:
            ready = self._ready = list(reversed(await self._fetch(None)))
            if not ready:
                raise StopAsyncIteration
        self._last = entry = ready.pop()
        return entry

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Entry:
        ready = self._ready
        if not ready:
            ready = self._ready = self._wait()
            if not ready:
                raise StopIteration
        self._last = entry = ready.pop()
        return entry

    def close(self) -> None:
        """Stop reading: a thread's connection is closed, a coroutine's reader leaves its hub."""
        self._ready = None
        pages, self._pages = self._pages, None
        if pages is not None:
            pages.close()
        self._leave()

    async def aclose(self) -> None:
        """Stop reading; the hub that was opened for this event loop is closed after its last reader."""
        self._ready = None
        hub = self._leave()
        if hub is not None:
            await hub.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Who leaves a loop over `subscribe(...)` drops it here and then; but the garbage collector may come in any thread.
        reader = self._reader
        if reader is not None and not reader.hub.loop.is_closed():
            reader.hub.loop.call_soon_threadsafe(_release, reader, reader.hub is not self._hub)

    async def _fetch(self, within: float | None) -> Sequence[Entry]:
        if self.ended:
            return ()
        if self._reader is None:
            hub = self._hub or _hub_of_this_loop(self._redis_url or current().redis_url)
            self._reader = hub.join(self.run_id, self.position)
        reader = self._reader
        entries = await reader.page(within)
        if reader.ended:
            self._over = not entries
            await self.aclose()
        return entries

    def _wait(self) -> list[Entry]:
        if self.ended:
            return []
        if self._pages is None:
            settings = current()
            url = self._redis_url or settings.redis_url
            self._pages = listen(self.run_id, self.position, url, buffer=settings.reader_buffer)
        entries = next(self._pages, None) or []
        if not entries or entries[-1].terminal:
            self._over = not entries
            self.close()
        entries.reverse()
        return entries

    def _leave(self) -> Hub | None:
        reader, self._reader = self._reader, None
        return None if reader is None else _release(reader, reader.hub is not self._hub)


def _release(reader: Reader, own: bool) -> Hub | None:
    """Take a reader from its hub. Returns the hub, already closing, if it is one of ours and nobody else needs it."""
    reader.leave()
    hub = reader.hub
    if not (own and hub.idle):
        return None
    hubs = _hubs.get(hub.loop, {})
    for url in [url for url, known in hubs.items() if known is hub]:
        del hubs[url]
    hub.close()
    return hub


def _check(run_id: object, after: object) -> None:
    if not isinstance(run_id, str) or not run_id:
        raise InvalidRequest("run_id: pass the id that enqueue returned")
    if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after < 2**53:
        raise InvalidRequest("after: pass the seq of the last entry you have, or 0 for the whole log")


def _hub_of_this_loop(url: str) -> Hub:
    for loop in [loop for loop in _hubs if loop.is_closed()]:
        del _hubs[loop]
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    if url not in hubs:
        hubs[url] = Hub(url, buffer=current().reader_buffer)
    return hubs[url]
