from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import fakeredis
import pytest

from noukai_worker.errors import RunNotFound, StoreUnavailable
from noukai_worker.runs import AsyncRunStore, RunRequest, RunStore, operations
from noukai_worker.subscriber.asker import Asker


@contextlib.asynccontextmanager
async def asking(server: fakeredis.FakeServer) -> AsyncIterator[Asker]:
    store = AsyncRunStore("redis://fake", client=fakeredis.FakeAsyncRedis(server=server))
    asker = Asker(store)
    task = asyncio.create_task(asker.run())
    try:
        yield asker
    finally:
        task.cancel()
        await asyncio.wait([task])
        await store.aclose()


@pytest.fixture
def server() -> fakeredis.FakeServer:
    server = fakeredis.FakeServer()
    store = RunStore("redis://fake", client=fakeredis.FakeRedis(server=server))
    for n in range(100):
        create = operations.create(
            f"run-{n}",
            RunRequest.build(flow="a/b/c"),
            token="t",
            retention=60,
            pickup=60,
            max_attempts=1,
            max_age=60,
            max_entries=100,
        )
        store.perform(create)
    store.close()
    return server


def test_each_gets_the_answer_to_its_own_question(server: fakeredis.FakeServer) -> None:
    async def main() -> None:
        async with asking(server) as asker:
            looks = [operations.show(f"run-{n}") for n in range(100)]
            answers = await asyncio.gather(*map(asker.ask, looks))
            assert [look.decode(answer).id for look, answer in zip(looks, answers, strict=True)] == [
                f"run-{n}" for n in range(100)
            ]
            unknown = operations.show("nobody")
            with pytest.raises(RunNotFound):
                unknown.decode(await asker.ask(unknown))

    asyncio.run(main())


def test_who_stops_waiting_disturbs_nobody(server: fakeredis.FakeServer) -> None:
    async def main() -> None:
        async with asking(server) as asker:
            look = operations.show("run-1")
            first, second, third = (asker.ask(look) for _ in range(3))
            second.cancel()
            assert look.decode(await first).id == look.decode(await third).id == "run-1"

    asyncio.run(main())


def test_without_a_server_all_who_ask_are_told(server: fakeredis.FakeServer) -> None:
    async def main() -> None:
        async with asking(server) as asker:
            server.connected = False
            answers = [asker.ask(operations.show("run-1")) for _ in range(40)]
            told = await asyncio.gather(*answers, return_exceptions=True)
            assert all(isinstance(error, StoreUnavailable) for error in told)
            assert len(set(map(id, told))) == 40
            server.connected = True
            assert operations.show("run-1").decode(await asker.ask(operations.show("run-1"))).id == "run-1"

    asyncio.run(main())


def test_when_it_fails_nobody_waits_for_ever(server: fakeredis.FakeServer) -> None:
    async def main() -> None:
        store = AsyncRunStore("redis://fake", client=fakeredis.FakeAsyncRedis(server=server))
        asker = Asker(store)  # and nobody runs it
        answer = asker.ask(operations.show("run-1"))
        asker.fail(StoreUnavailable("redis://fake", "closed"))
        with pytest.raises(StoreUnavailable, match="closed"):
            await answer
        await store.aclose()

    asyncio.run(main())
