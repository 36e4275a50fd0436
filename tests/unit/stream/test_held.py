"""Work on a held run that is interrupted: stopped at once, or after its last words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from noukai_worker.runs import Lease
from noukai_worker.stream import HeldRun


async def interrupted(work: Callable[[asyncio.Event], Any], *last_words: Callable[[], float]) -> Any:
    """What comes of guarded work that is interrupted once it has begun; the event is set then."""
    begun = asyncio.Event()
    run = HeldRun(None, Lease("r", 1, 2), extend=10, pickup=10)  # type: ignore[arg-type] # nothing is written here
    guarded = asyncio.create_task(run.guard(work(begun), *last_words))
    await begun.wait()
    guarded.cancel()
    return await guarded


async def speaking(begun: asyncio.Event) -> str:
    begun.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "said"


async def silent(begun: asyncio.Event) -> None:
    begun.set()
    await asyncio.Event().wait()


def test_work_is_stopped_at_once() -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted(speaking))


def test_what_is_about_to_be_said_is_still_heard() -> None:
    assert asyncio.run(interrupted(speaking, lambda: 10.0)) == "said"


def test_who_says_nothing_is_stopped_then() -> None:
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted(silent, lambda: 0.01))


@pytest.mark.parametrize(("patience", "told"), [(10.0, True), (0.0, False)])
def test_the_service_is_told_that_we_are_going_only_if_its_last_words_count(patience: float, told: bool) -> None:
    async def main() -> None:
        run = HeldRun(None, Lease("r", 1, 2), extend=10, pickup=10)  # type: ignore[arg-type] # nothing is written here
        begun, gone = asyncio.Event(), asyncio.Event()
        run.farewell = gone.set

        async def until_gone() -> str:
            begun.set()
            await gone.wait()
            return "the stream has ended"

        guarded = asyncio.create_task(run.guard(until_gone(), lambda: patience))
        await begun.wait()
        guarded.cancel()
        if told:
            assert await guarded == "the stream has ended"
        else:
            with pytest.raises(asyncio.CancelledError):
                await guarded
            assert not gone.is_set()

    asyncio.run(main())


def test_a_lease_is_renewed_when_a_third_of_it_is_used_up_and_nobody_writes() -> None:
    async def main() -> tuple[bool, bool, bool]:
        fresh = HeldRun(None, Lease("r", 1, 2), extend=10, pickup=10)  # type: ignore[arg-type] # nothing is written here
        used_up = HeldRun(None, Lease("r", 1, 2), extend=0, pickup=10)  # type: ignore[arg-type]
        fading = fresh.fading, used_up.fading
        async with used_up._turn:
            return *fading, used_up.fading

    assert asyncio.run(main()) == (False, True, False)
