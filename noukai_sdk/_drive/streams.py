"""This room drives streams: a conversation whose frames are handed out as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import httpx

from noukai_sdk._drive.bounds import Bounds, deadline_error
from noukai_sdk._drive.effects import (
    AsyncConnection,
    SyncConnection,
    acall,
    advance,
    aopen_response,
    call,
    open_response,
)
from noukai_sdk._errors import NoukaiError
from noukai_sdk._failures import failed_read, is_failure
from noukai_sdk._http.lines import ForeignLine, Line, half_close, line_of
from noukai_sdk._interruption import covering
from noukai_sdk._models.frames import Frame
from noukai_sdk._protocol.effects import FINISH, READ, Call, Deliver, Effect, Read, Reply, Send, Sleep
from noukai_sdk._transport import achunks_of, chunks_of

# A body that should be over is read to its end, so that its connection can be used again; but not for long.
_DRAIN_SECONDS = 1.0
_DRAIN_BYTES = 64 * 1024


class Batches(Iterator[list[Frame]]):
    """Drives a stream: each item holds the frames that one network read completed. `timeout` in seconds, for the whole."""

    def __init__(
        self, dialogue: Generator[Effect, Any, None], connection: SyncConnection, timeout: float | None
    ) -> None:
        self._dialogue = dialogue
        self._connection = connection
        self._timeout = timeout
        self._bounds: Bounds | None = None
        self._response: httpx.Response | None = None
        self._is_over = False
        self._chunks: Iterator[bytes] = iter(())

    def __next__(self) -> list[Frame]:
        bounds = self._bounds
        if bounds is None:
            # The time runs from the first item on.
            bounds = self._bounds = Bounds(self._timeout)
        if not covering():
            return self._next(bounds, is_bounded=self._timeout is not None)
        with bounds:
            return self._next(bounds, is_bounded=True)

    def _next(self, bounds: Bounds, *, is_bounded: bool) -> list[Frame]:
        outcome: Any = None
        error: Exception | None = None
        try:
            while True:
                effect = advance(self._dialogue, outcome, error)
                outcome = error = None
                if type(effect) is Deliver:
                    self._is_over = effect.is_last
                    return effect.frames
                if type(effect) is Call:
                    outcome = call(effect)
                    continue
                try:
                    if is_bounded and effect is not FINISH:
                        bounds.check(sent=type(effect) is not Send)
                    outcome = self._perform(effect, bounds)
                except Exception as failure:  # noqa: BLE001 -- the conversation sees it, and raises it again
                    error = bounds.explain(failure)
        except BaseException:
            self._give_up()
            raise

    def _perform(self, effect: Effect, bounds: Bounds) -> Any:
        match effect:
            case Read():
                return self._read(bounds)
            case Send():
                return self._send(effect, bounds)
            case Sleep():
                return bounds.sleep(effect.seconds)
            case _:
                return self._drain()

    def _send(self, effect: Send, bounds: Bounds) -> Reply:
        self._abandon()
        response = open_response(effect, self._connection, bounds)
        if response.is_success:
            self._response, self._chunks = response, chunks_of(response)
        return self._connection.reply(effect, response, None if response.is_success else response.content)

    def _read(self, bounds: Bounds) -> bytes | None:
        try:
            chunk = next(self._chunks, None)
        except Exception as error:
            if not is_failure(error):
                raise
            raise failed_read(error) from error
        if chunk is None:
            bounds.check(sent=True)  # the end may be its own doing
        return chunk

    def _drain(self) -> None:
        limit = Bounds(_DRAIN_SECONDS)
        left = _DRAIN_BYTES
        try:
            with limit:
                limit(self._line)
                for chunk in self._chunks:
                    left -= len(chunk)
                    if left < 0:
                        break
        except Exception as error:
            # What comes after the end of a call is of no interest, nor is how it fails.
            if not is_failure(error):
                raise
        finally:
            limit.cancel()
        self._abandon()

    @property
    def _line(self) -> Line | ForeignLine | None:
        return None if self._response is None else line_of(self._response.extensions.get("network_stream"))

    def _abandon(self) -> None:
        response, self._response, self._chunks = self._response, None, iter(())
        self._is_over = False
        if self._bounds is not None:
            self._bounds(None)
        if response is not None:
            response.close()

    def close(self) -> None:
        """Give up what is left of the stream. A connection whose call has ended is kept for the next."""
        if self._is_over:
            self._drain()
        elif (line := self._line) is not None:
            # Another thread may be reading, and would keep us waiting until something comes.
            line.end()
        self._give_up()

    def _give_up(self) -> None:
        self._dialogue.close()
        if self._bounds is not None:
            self._bounds.cancel()
        self._abandon()

    def __del__(self) -> None:
        self._give_up()


class AsyncBatches(AsyncIterator[list[Frame]]):
    """Drives a stream: each item holds the frames that one network read completed. `timeout` in seconds, for the whole."""

    def __init__(
        self, dialogue: Generator[Effect, Any, None], connection: AsyncConnection, timeout: float | None
    ) -> None:
        self._dialogue = dialogue
        self._connection = connection
        self._timeout = timeout
        self._ends_at: float | None = None
        self._response: httpx.Response | None = None
        self._is_over = False
        self._chunks: AsyncIterator[bytes] | None = None

    async def __anext__(self) -> list[Frame]:
        outcome: Any = None
        error: Exception | None = None
        try:
            while True:
                try:
                    effect = advance(self._dialogue, outcome, error)
                except StopIteration:
                    raise StopAsyncIteration from None
                outcome = error = None
                if type(effect) is Deliver:
                    self._is_over = effect.is_last
                    return effect.frames
                try:
                    if self._timeout is None or effect is FINISH:
                        # Most effects are reads; each coroutine in between costs an event that comes alone.
                        outcome = await (self._read() if effect is READ else self._perform(effect))
                    else:
                        outcome = await self._perform_in_time(effect, self._timeout)
                except Exception as failure:
                    if type(effect) is Call:
                        raise
                    error = failure
        except BaseException:
            await self._give_up()
            raise

    async def _perform_in_time(self, effect: Effect, limit: float) -> Any:
        now = asyncio.get_running_loop().time()
        if self._ends_at is None:
            self._ends_at = now + limit
        if now >= self._ends_at:
            raise deadline_error(limit, sent=type(effect) is not Send)
        scope = asyncio.timeout_at(self._ends_at)
        try:
            async with scope:
                return await self._perform(effect)
        except TimeoutError as error:
            if scope.expired():
                raise deadline_error(limit) from error
            raise

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Read():
                return await self._read()
            case Send():
                return await self._send(effect)
            case Call():
                return await acall(effect)
            case Sleep():
                return await asyncio.sleep(effect.seconds)
            case _:
                return await self._drain()

    async def _send(self, effect: Send) -> Reply:
        await self._abandon()
        response = await aopen_response(effect, self._connection)
        if response.is_success:
            self._response, self._chunks = response, achunks_of(response)
        return self._connection.reply(effect, response, None if response.is_success else response.content)

    async def _read(self) -> bytes | None:
        if self._chunks is None:
            return None
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            return None
        except Exception as error:
            if not is_failure(error):
                raise
            raise failed_read(error) from error

    async def _drain(self) -> None:
        left = _DRAIN_BYTES
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while left >= 0 and (chunk := await self._read()) is not None:
                    left -= len(chunk)
        except (NoukaiError, TimeoutError):
            pass  # what comes after the end of a call is of no interest, nor is how it fails
        await self._abandon()

    async def _abandon(self) -> None:
        response, self._response, self._chunks = self._response, None, None
        self._is_over = False
        if response is not None:
            await response.aclose()

    def half_close(self) -> bool:
        """Tell the server that its caller has gone, and go on reading; whether that was possible."""
        return self._response is not None and half_close(self._response.extensions.get("network_stream"))

    async def aclose(self) -> None:
        """Give up what is left of the stream. A connection whose call has ended is kept for the next."""
        try:
            if self._is_over:
                await self._drain()
        finally:
            await self._give_up()

    async def _give_up(self) -> None:
        self._dialogue.close()
        await self._abandon()
