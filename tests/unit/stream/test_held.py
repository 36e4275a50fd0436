"""Work on a held run that is interrupted: stopped at once, or after its last words."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from noukai_worker.runs import Lease, outcome
from noukai_worker.runs.operations import Operation
from noukai_worker.stream import HeldRun
from noukai_worker.stream.held import Holdings
from noukai_worker.stream.writer import Writer


async def interrupted(work: Callable[[asyncio.Event], Any], *last_words: Callable[[], float]) -> Any:
    """What comes of guarded work that is interrupted once it has begun; the event is set then."""
    begun = asyncio.Event()
    run = HeldRun(None, Lease("r", 1, 2), extend=10, pickup=10, order=OrderedDict())  # type: ignore[arg-type] # nothing is written here
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
        run = HeldRun(None, Lease("r", 1, 2), extend=10, pickup=10, order=OrderedDict())  # type: ignore[arg-type] # nothing is written here
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


class Store:
    """Notes which runs are written to."""

    def __init__(self) -> None:
        self.written: list[str] = []

    async def perform_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        self.written += [operation.run_id for operation in operations]
        return [[b"ok", 2]] * len(operations)


def test_a_round_renews_who_has_not_written_for_a_third_of_the_lease_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> tuple[list[str], ...]:
        store, loop = Store(), asyncio.get_running_loop()
        holdings = Holdings(Writer(store), lease=9, pickup=10)  # type: ignore[arg-type]
        now = [100.0]
        monkeypatch.setattr(loop, "time", lambda: now[0])
        runs = {name: holdings.hold(Lease(name, 1, 2)) for name in ("silent", "writes", "is written to", "has ended")}
        now[0] = 102.0
        await runs["writes"].append(outcome.NOTHING)
        await runs["has ended"].close(outcome.Completed(1))
        rounds = []
        for now[0] in (102.9, 103.0, 104.0, 106.0):
            store.written.clear()
            async with runs["is written to"]._turn:
                await holdings.renew()
            rounds.append(store.written[:])
        await holdings.aclose()
        return tuple(rounds)

    assert asyncio.run(main()) == ([], ["silent"], [], ["writes", "silent"])
