"""A thousand streams at once, on default settings: none fails for want of a connection (WIRE.md 8.12)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import resource
import threading
from collections.abc import Iterator

import pytest

from noukai_sdk.testing import FlowServer

pytestmark = pytest.mark.integration
FLOW = "acme/demo/two-step"
STREAMS = 1000
THREADS = 200


@pytest.fixture
def many_files() -> Iterator[None]:
    """A socket each, and some to spare."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * STREAMS + 500
    if soft != resource.RLIM_INFINITY and soft < wanted:
        assert hard == resource.RLIM_INFINITY or hard >= wanted, f"{wanted} open files are not allowed here: {hard}"
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_streams_are_open_at_once(noukai_server: FlowServer, many_files: None) -> None:
    async def main() -> list[str]:
        all_open = asyncio.Barrier(STREAMS)

        async def read(number: int) -> str:
            types = []
            async with client.flow(FLOW).events(f"{number}") as stream:
                async for event in stream:
                    types.append(event.event_type)
                    if len(types) == 1:
                        # Nobody reads on until everybody has begun, and so has a connection of their own.
                        await all_open.wait()
            assert types.count("step_completed") == 2
            return types[-1]

        async with asyncio.timeout(90), noukai_server.async_client() as client:
            return await asyncio.gather(*map(read, range(STREAMS)))

    assert asyncio.run(main()) == ["flow_completed"] * STREAMS
    counts = noukai_server.counts()
    assert counts["flows"][FLOW]["requests"]["step"] == 2 * STREAMS
    assert {row["completed"] for row in counts["flows"][FLOW]["steps"].values()} == {STREAMS}


def test_streams_in_two_hundred_threads_are_open_at_once(noukai_server: FlowServer, many_files: None) -> None:
    all_open = threading.Barrier(THREADS)

    def read(number: int) -> str:
        types = []
        for event in client.flow(FLOW).events(f"{number}"):
            types.append(event.event_type)
            if len(types) == 1:
                all_open.wait(90)
        return types[-1]

    with noukai_server.client() as client, concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(read, range(THREADS))) == ["flow_completed"] * THREADS
