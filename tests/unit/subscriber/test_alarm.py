from __future__ import annotations

from noukai_worker.subscriber.alarm import Alarm
from tests.support.clock import ClockLoop, clock_loop


def _alarm(loop: ClockLoop) -> tuple[Alarm, list[float]]:
    rung: list[float] = []
    return Alarm(loop, lambda: rung.append(loop.time())), rung


def test_it_goes_off_once_when_it_was_last_set_to() -> None:
    with clock_loop() as loop:
        alarm, rung = _alarm(loop)
        alarm.set(10)
        loop.to(9)
        alarm.set(10)
        loop.to(18.9)
        assert rung == []
        loop.to(19)
        loop.to(100)
        assert rung == [19]
        alarm.set(1)
        loop.to(101)
        assert rung == [19, 101]


def test_it_can_be_set_to_an_earlier_moment() -> None:
    with clock_loop() as loop:
        alarm, rung = _alarm(loop)
        alarm.set(10)
        alarm.set(1)
        loop.to(1)
        loop.to(20)
        assert rung == [1]


def test_cleared_or_closed_it_is_silent_until_it_is_set_again() -> None:
    with clock_loop() as loop:
        alarm, rung = _alarm(loop)
        for silence in (alarm.clear, alarm.close):
            alarm.set(10)
            silence()
            loop.to(loop.time() + 50)
            assert rung == []
        alarm.set(10)
        loop.to(loop.time() + 10)
        assert rung == [110]
