from __future__ import annotations

import asyncio

from noukai_worker.subscriber import Hub
from noukai_worker.subscriber.reader import Reader
from noukai_worker.subscriber.topic import Topic
from tests.support.clock import ClockLoop, clock_loop

GATHER = 0.05


def _ring(topic: Topic, *seqs: int) -> None:
    for seq in seqs:
        assert topic.ring(
            b'{"run_id":"r","seq":%d,"type":"step_output","at":"2026-11-24T00:00:00.000Z","attempt":1,"data":{}}' % seq
        )


def _told(topic: Topic, loop: ClockLoop, position: int, moment: float) -> list[int]:
    """What a reader at a position is told, who waits until a moment."""
    news = topic.news()
    loop.to(moment)
    return [entry.seq for entry in topic.window.after(position)] if news.done() else []


def test_the_first_news_is_told_at_once_and_what_follows_in_one_piece() -> None:
    with clock_loop() as loop:
        topic = Topic("r", 10, loop, GATHER)
        news = topic.news()
        _ring(topic, 1)
        assert news.done()
        _ring(topic, 2, 3)
        assert _told(topic, loop, 1, 0.04) == []
        assert _told(topic, loop, 1, 0.05) == [2, 3]
        _ring(topic, 4)
        assert _told(topic, loop, 3, 0.09) == []
        assert _told(topic, loop, 3, 0.11) == [4]
        loop.to(1)
        news = topic.news()
        _ring(topic, 5)
        assert news.done()


def test_without_gathering_all_news_is_told_at_once() -> None:
    with clock_loop() as loop:
        topic = Topic("r", 10, loop)
        for seq in (1, 2, 3):
            news = topic.news()
            _ring(topic, seq)
            assert news.done()


def test_readers_at_one_place_are_given_the_very_same_entries() -> None:
    with clock_loop() as loop:
        topic = Topic("r", 10, loop)
        _ring(topic, 1, 2)
        given = topic.window.after(0)
        assert topic.window.after(0) is given
        _ring(topic, 3)
        assert [entry.seq for entry in topic.window.after(0)] == [1, 2, 3]
        assert [entry.seq for entry in topic.window.after(1)] == [2, 3]
        topic.window.forget(2)
        assert [entry.seq for entry in topic.window.after(2)] == [3]
        assert not topic.window.after(0)


def test_waiting_in_vain_leaves_nothing_behind() -> None:
    """A paused run is silent for days, and its readers look up every few seconds."""

    async def main() -> None:
        topic = Topic("r", 10, asyncio.get_running_loop())
        hub = Hub("redis://unused")
        hub.loop = asyncio.get_running_loop()
        reader = Reader(hub, topic, 0)
        for _ in range(3):
            assert await reader._wait(0.0) is False
        waiting = asyncio.ensure_future(reader._wait(None))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert len(topic._waiting) == 0

    asyncio.run(main())
