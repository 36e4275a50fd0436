"""The blocking twin of hub and reader: one run, one thread, one pub/sub connection of its own."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing, suppress

from redis.exceptions import RedisError

from ..errors import StoreUnavailable
from ..redis_url import RedisUrl
from ..runs import Entry, keys, operations, shared
from ..runs.store import unavailable
from .bell import MESSAGE, Bell
from .patience import CHECK, FIRST_PATIENCE, PATIENCE, Patience
from .window import Cursor, Window, seq_of


def listen(
    run_id: str,
    after: int,
    url: str,
    *,
    buffer: int,
    check: float = CHECK,
    patience: float = PATIENCE,
) -> Generator[list[Entry]]:
    """Pages of a run's entries after a position, until the terminal one; closing the iterator closes its connection.

    A page is the taker's: whoever empties it lets go of what was looked at, which would otherwise pile up.

    Durations in seconds. Raises RunNotFound, RunExpired, PositionAhead, EntriesTrimmed, StoreUnavailable.
    """
    window = Window(buffer)
    cursor = Cursor(window, after)
    waits = Patience(min(FIRST_PATIENCE, patience), time.monotonic)
    store = shared(url)
    with closing(Bell(RedisUrl.parse(url))) as bell:
        while not cursor.ended:
            try:
                bell.connect(keys.channel(run_id), store.node(keys.channel(run_id)))
                cursor.unread = True
                while not cursor.ended:
                    entries = cursor.take()
                    if not entries and cursor.behind:
                        entries = cursor.fill(
                            store.perform(operations.read(run_id, after=cursor.position, limit=cursor.limit))
                        )
                        waits.succeeded()
                        waits.limit = patience
                    if entries:
                        window.forget(cursor.position)
                        yield (entries := list(entries))
                    elif cursor.idle:
                        _wait(bell, cursor, window, check)
            except StoreUnavailable as error:
                time.sleep(waits.failed(error))
            except (RedisError, OSError) as error:
                time.sleep(waits.failed(unavailable(store.address, error)))
                with suppress(StoreUnavailable):
                    store.misplaced()


def _wait(bell: Bell, cursor: Cursor, window: Window, check: float) -> None:
    message = bell.receive(check)
    if message is None:
        cursor.unread = True
    elif message[0] in MESSAGE:
        seq = seq_of(message[2])
        if seq is None:
            cursor.unread = True
        else:
            window.offer(seq, message[2])
