"""The writer merges, waits for a Redis that is away, and never writes for those who gave up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from noukai_worker.errors import StoreUnavailable
from noukai_worker.runs.operations import Operation
from noukai_worker.stream.writer import Writer


class Trips:
    """Stands for a store: notes each trip, and lets the test decide when it returns and with what."""

    def __init__(self) -> None:
        self.made: list[list[str]] = []
        self.gate = asyncio.Event()
        self.failures = 0
        self.away: dict[str, int] = {}
        """How often an operation meets a node that is away."""

    async def perform_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        self.made.append([operation.script for operation in operations])
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("redis://x", "away")
        return [self._answer(operation.script) for operation in operations]

    def _answer(self, name: str) -> Any:
        if self.away.get(name):
            self.away[name] -= 1
            return StoreUnavailable("redis://x", "away")
        return ResponseError("ERR no") if name == "bad" else name


def operation(name: str) -> Operation[str]:
    return Operation(name, (), (), lambda answer: f"<{answer}>")


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_comes_during_a_trip_goes_with_the_next_one() -> None:
    async def main() -> None:
        trips = Trips()
        writer = Writer(trips)  # type: ignore[arg-type]
        tasks = [asyncio.create_task(writer.perform(operation("first")))]
        await settled()
        tasks += [asyncio.create_task(writer.perform(operation(name))) for name in ("a", "b", "c")]
        await settled()
        assert trips.made == [["first"]]
        trips.gate.set()
        assert await asyncio.gather(*tasks) == ["<first>", "<a>", "<b>", "<c>"]
        assert trips.made == [["first"], ["a", "b", "c"]]
        assert await writer.perform(operation("idle")) == "<idle>"

    asyncio.run(main())


def test_a_trip_is_bounded_in_bytes() -> None:
    async def main() -> None:
        trips = Trips()
        trips.gate.set()
        writer = Writer(trips)  # type: ignore[arg-type]
        large = [Operation(name, (), (b"x" * 600_000,), lambda answer: answer) for name in "abc"]
        await asyncio.gather(*(writer.perform(one) for one in large))
        assert trips.made == [["a"], ["b"], ["c"]]

    asyncio.run(main())


def test_only_those_whose_node_is_away_are_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noukai_worker.stream.writer._PAUSES", (0.0,))

    async def main() -> None:
        trips = Trips()
        trips.away = {"away": 2}
        trips.gate.set()
        writer = Writer(trips)  # type: ignore[arg-type]
        names = ("a", "away", "b")
        assert await asyncio.gather(*(writer.perform(operation(name)) for name in names)) == ["<a>", "<away>", "<b>"]
        assert trips.made == [["a", "away", "b"], ["away"], ["away"]]

    asyncio.run(main())


def test_nobody_waits_for_a_node_that_is_away_longer_than_the_loop_lives() -> None:
    async def main() -> tuple[Writer, asyncio.Task[Any]]:
        trips = Trips()
        trips.away = {"away": 1_000}
        trips.gate.set()
        writer = Writer(trips)  # type: ignore[arg-type]
        writing = asyncio.create_task(writer.carry_out(operation("away")))
        await settled()
        assert writer._postponed
        return writer, writing

    _, writing = asyncio.run(main())
    assert writing.cancelled()


def test_one_runs_error_is_its_own() -> None:
    async def main() -> None:
        trips = Trips()
        trips.gate.set()
        writer = Writer(trips)  # type: ignore[arg-type]
        good, bad = await asyncio.gather(
            writer.perform(operation("good")), writer.perform(operation("bad")), return_exceptions=True
        )
        assert good == "<good>"
        assert isinstance(bad, ResponseError)

    asyncio.run(main())


def test_a_trip_is_made_again_until_redis_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        monkeypatch.setattr("noukai_worker.stream.writer._PAUSES", (0.0,))
        trips = Trips()
        trips.gate.set()
        trips.failures = 3
        assert await Writer(trips).perform(operation("a")) == "<a>"  # type: ignore[arg-type]
        assert trips.made == [["a"]] * 4

    asyncio.run(main())
    assert len(caplog.records) == 1, "said once, not at each try"


def test_who_gave_up_in_the_queue_does_not_write() -> None:
    async def main() -> None:
        trips = Trips()
        writer = Writer(trips)  # type: ignore[arg-type]
        first = asyncio.create_task(writer.perform(operation("first")))
        await settled()
        quitter = asyncio.create_task(writer.perform(operation("quitter")))
        await settled()
        quitter.cancel()
        await settled()
        trips.gate.set()
        await first
        await settled()
        assert trips.made == [["first"]]

    asyncio.run(main())


def test_a_write_that_must_be_known_is_waited_for_whatever_interrupts() -> None:
    async def main() -> None:
        trips = Trips()
        writer = Writer(trips)  # type: ignore[arg-type]
        task = asyncio.create_task(writer.carry_out(operation("a")))
        await settled()
        task.cancel()
        await settled()
        assert not task.done()
        trips.gate.set()
        answer, interruption = await task
        assert answer == "<a>"
        assert isinstance(interruption, asyncio.CancelledError)

    asyncio.run(main())


def test_an_error_of_the_operation_is_not_an_interruption() -> None:
    async def main() -> None:
        trips = Trips()
        trips.gate.set()
        with pytest.raises(ResponseError):
            await Writer(trips).carry_out(operation("bad"))  # type: ignore[arg-type]

    asyncio.run(main())


def test_what_cannot_even_be_sent_spares_the_others() -> None:
    class Picky(Trips):
        async def perform_all(self, operations: Sequence[Operation[Any]]) -> list[Any]:
            if any(operation.script == "unsendable" for operation in operations):
                raise TypeError("no")
            return await super().perform_all(operations)

    async def main() -> None:
        trips = Picky()
        trips.gate.set()
        writer = Writer(trips)  # type: ignore[arg-type]
        names = ("first", "good", "unsendable", "fine")
        answers = await asyncio.gather(*(writer.perform(operation(name)) for name in names), return_exceptions=True)
        assert [answer if isinstance(answer, str) else type(answer) for answer in answers] == [
            "<first>",
            "<good>",
            TypeError,
            "<fine>",
        ]

    asyncio.run(main())
