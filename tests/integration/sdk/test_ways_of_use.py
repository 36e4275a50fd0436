"""Every way of use of the published guide "Async vs Sync", against a real server."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from asgiref.sync import async_to_sync
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from noukai_sdk import AsyncNoukai, ClientClosedError, ExecuteResult, Noukai
from noukai_sdk.testing import FlowServer

pytestmark = pytest.mark.integration
Serving = Callable[[object], contextlib.AbstractContextManager[str]]
HELLO = "acme/demo/hello-world"
TWO_STEP = "acme/demo/two-step"
FIVE_STEP = "acme/demo/slow-essay"
TWO_STEP_EVENTS = [
    "run_started",
    "step_started",
    "step_completed",
    "step_paused",
    "step_started",
    "step_completed",
    "flow_completed",
]


def milestones(types: list[str]) -> list[str]:
    return [kind for kind in types if kind not in ("step_input", "step_output")]


def test_the_sync_client(noukai_server: FlowServer) -> None:
    with noukai_server.client() as client:
        result = client.flow(HELLO).execute("you")
        assert isinstance(result, ExecuteResult)
        assert result.output == "Hello, you!"
        flow = client.flow(TWO_STEP)
        assert [step.output for step in flow.steps("x")] == [{"text": "a: x"}, {"text": "b: a: x"}]
        assert milestones([event.event_type for event in flow.events("x")]) == TWO_STEP_EVENTS


async def use_async(client: AsyncNoukai) -> list[str]:
    result = await client.flow(HELLO).execute("you")
    assert isinstance(result, ExecuteResult)
    assert result.output == "Hello, you!"
    flow = client.flow(TWO_STEP)
    assert [step.output async for step in flow.steps("x")] == [{"text": "a: x"}, {"text": "b: a: x"}]
    return milestones([event.event_type async for event in flow.events("x")])


def test_the_async_client_with_asyncio_run(noukai_server: FlowServer) -> None:
    async def main() -> list[str]:
        async with noukai_server.async_client() as client:
            return await use_async(client)

    for _ in range(3):
        assert asyncio.run(main()) == TWO_STEP_EVENTS


def test_one_async_client_over_several_event_loops(noukai_server: FlowServer) -> None:
    client = noukai_server.async_client()
    for _ in range(3):
        assert asyncio.run(use_async(client)) == TWO_STEP_EVENTS
    asyncio.run(client.aclose())


def test_async_to_sync(noukai_server: FlowServer) -> None:
    @async_to_sync
    async def view(message: str) -> object:
        async with noukai_server.async_client() as client:
            result = await client.flow(HELLO).execute(message)
            return result.output if isinstance(result, ExecuteResult) else None

    assert [view("a"), view("b")] == ["Hello, a!", "Hello, b!"]


def test_async_to_sync_with_a_client_of_the_whole_process(noukai_server: FlowServer) -> None:
    client = noukai_server.async_client()
    view = async_to_sync(use_async)
    assert [view(client), view(client)] == [TWO_STEP_EVENTS] * 2
    async_to_sync(client.aclose)()


def test_a_client_closed_by_hand_says_so_from_then_on(noukai_server: FlowServer) -> None:
    client = noukai_server.client()
    flow = client.flow(HELLO)
    stream = flow.events("x")
    client.close()
    client.close()
    for use in (lambda: flow.execute("x"), lambda: next(flow.steps("x")), lambda: next(stream)):
        with pytest.raises(ClientClosedError, match="make a new one") as caught:
            use()
        assert isinstance(caught.value, RuntimeError)
        assert not caught.value.sent
    assert noukai_server.counts()["requests"] == []


def test_an_async_client_closed_by_hand_says_so_from_then_on(noukai_server: FlowServer) -> None:
    async def main() -> None:
        client = noukai_server.async_client()
        flow = client.flow(HELLO)
        stream = flow.events("x")
        await client.aclose()
        await client.aclose()
        for use in (lambda: flow.execute("x"), lambda: anext(flow.steps("x")), lambda: anext(stream)):
            with pytest.raises(ClientClosedError, match="make a new one"):
                await use()

    asyncio.run(main())
    assert noukai_server.counts()["requests"] == []


NOTEBOOK = """
import asyncio
from noukai_sdk import AsyncNoukai, Noukai

async def kernel():
    # A cell of a notebook: ordinary code, inside a running loop.
    with Noukai() as client:
        print(client.flow("acme/demo/hello-world").execute("cell 1").output)
        print(*[event.event_type for event in client.flow("acme/demo/two-step").events("x")][-1:])

    # Top-level await.
    async with AsyncNoukai() as client:
        print((await client.flow("acme/demo/hello-world").execute("cell 2")).output)

    # asyncio.run() inside the loop, which nest_asyncio makes possible.
    import nest_asyncio
    nest_asyncio.apply()

    async def main(client):
        print((await client.flow("acme/demo/hello-world").execute("cell 3")).output)
        async for step in client.flow("acme/demo/two-step").steps("x"):
            print(step.output)

    async def once():
        async with AsyncNoukai() as client:
            await main(client)

    asyncio.run(once())
    shared = AsyncNoukai()
    for _ in range(2):
        asyncio.get_event_loop().run_until_complete(main(shared))
    await shared.aclose()

asyncio.run(kernel())
"""


def test_in_a_notebook(run_quietly: Callable[..., str]) -> None:
    assert run_quietly(NOTEBOOK).splitlines() == [
        "Hello, cell 1!",
        "flow_completed",
        "Hello, cell 2!",
        *["Hello, cell 3!", "{'text': 'a: x'}", "{'text': 'b: a: x'}"] * 3,
    ]


def test_a_pool_of_threads_with_a_client_each(noukai_server: FlowServer) -> None:
    def work(number: int) -> object:
        with noukai_server.client() as client:
            result = client.flow(HELLO).execute(f"{number}")
            return result.output if isinstance(result, ExecuteResult) else None

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(64))) == [f"Hello, {number}!" for number in range(64)]


def test_one_client_shared_by_64_threads_at_once(noukai_server: FlowServer) -> None:
    together = threading.Barrier(64)

    def work(client: Noukai, number: int) -> tuple[object, list[str]]:
        together.wait(30)
        flow = client.flow(TWO_STEP)
        steps = [step.output for step in flow.steps(f"{number}")]
        result = client.flow(HELLO).execute(f"{number}")
        assert isinstance(result, ExecuteResult)
        return result.output, [output["text"] for output in steps]

    with noukai_server.client() as client, concurrent.futures.ThreadPoolExecutor(64) as pool:
        done = list(pool.map(lambda number: work(client, number), range(64)))
    assert done == [(f"Hello, {n}!", [f"a: {n}", f"b: a: {n}"]) for n in range(64)]


LEAVING = """
import asyncio, sys
from noukai_sdk import AsyncNoukai

FLOW = "acme/demo/slow-essay"

async def broken_off(client):
    async for event in client.flow(FLOW).events("x"):
        if event.event_type == "step_output":
            return

async def cancelled(client):
    async def read():
        async for event in client.flow(FLOW).events("x"):
            first.set()
    first = asyncio.Event()
    task = asyncio.create_task(read())
    await first.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return

async def timed_out(client):
    try:
        async with asyncio.timeout(0.2):
            async for step in client.flow(FLOW).steps("x"):
                pass
    except TimeoutError:
        return

async def cancelled_while_asking(client):
    task = asyncio.create_task(client.flow(FLOW).execute("x"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

async def gathered_and_failed(client):
    async def read():
        async for event in client.flow(FLOW).events("x"):
            if event.event_type == "step_output":
                raise LookupError
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(read())
    except* LookupError:
        pass

async def kept(client):
    keep.append(client.flow(FLOW).events("x"))
    async for event in keep[-1]:
        break

keep = []

async def main(way, close):
    client = AsyncNoukai()
    await way(client)
    if close:
        await client.aclose()

for way in (broken_off, cancelled, timed_out, cancelled_while_asking, gathered_and_failed, kept):
    for close in (True, False):
        asyncio.run(main(way, close))
print("left")
"""


def test_leaving_an_async_stream_says_nothing(run_quietly: Callable[..., str]) -> None:
    assert run_quietly(LEAVING) == "left\n"


def fastapi_app(server: FlowServer) -> FastAPI:
    """An application as the guide wants it, with one client, and with one per request."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with server.async_client() as client:
            app.state.client = client
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/shared")
    async def shared(message: str) -> object:
        result = await app.state.client.flow(HELLO).execute(message)
        return result.output

    @app.get("/own")
    async def own(message: str) -> object:
        async with server.async_client() as client:
            result = await client.flow(HELLO).execute(message)
            return result.output if isinstance(result, ExecuteResult) else None

    @app.get("/stream")
    async def stream(message: str) -> StreamingResponse:
        async def lines():  # type: ignore[no-untyped-def]
            async for event in app.state.client.flow(TWO_STEP).events(message):
                if hasattr(event, "output"):
                    yield f"data: {json.dumps(event.output)}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return app


@pytest.mark.parametrize("path", ["/shared", "/own"])
def test_a_hundred_callers_of_a_fastapi_endpoint_at_once(
    noukai_server: FlowServer, serving: Serving, path: str
) -> None:
    noukai_server.order(delay=0.5, times=100)

    async def main(url: str) -> list[object]:
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as caller:
            answers = await asyncio.gather(*(caller.get(path, params={"message": f"{n}"}) for n in range(100)))
            return [answer.json() for answer in answers]

    with serving(fastapi_app(noukai_server)) as url:
        started = time.monotonic()
        assert asyncio.run(main(url)) == [f"Hello, {n}!" for n in range(100)]
        # One after the other they would take 50 s.
        assert time.monotonic() - started < 25
    assert noukai_server.waiting() == []


def test_a_hundred_readers_of_a_fastapi_streaming_response(noukai_server: FlowServer, serving: Serving) -> None:
    async def main(url: str) -> list[str]:
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as caller:
            answers = await asyncio.gather(*(caller.get("/stream", params={"message": f"{n}"}) for n in range(100)))
            return [answer.text for answer in answers]

    with serving(fastapi_app(noukai_server)) as url:
        texts = asyncio.run(main(url))
    assert texts == [f'data: {{"text": "a: {n}"}}\n\ndata: {{"text": "b: a: {n}"}}\n\n' for n in range(100)]


def test_a_reader_who_hangs_up_ends_the_stream_though_the_service_is_silent(
    noukai_server: FlowServer, serving: Serving
) -> None:
    noukai_server.order(stall_after_events=3, seconds=600)
    ended = threading.Event()
    app = FastAPI()

    @app.get("/")
    async def stream() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            try:
                async with noukai_server.async_client() as client, client.flow(TWO_STEP).events("x") as stream:
                    async for event in stream:
                        yield event.model_dump_json() + "\n"
            finally:
                ended.set()

        return StreamingResponse(lines())

    with serving(app) as url:
        with httpx.stream("GET", url, trust_env=False) as response:
            lines_read = response.iter_lines()  # kept: httpx hangs up when it is collected
            assert json.loads(next(lines_read))["event_type"] == "run_started"
            assert not ended.is_set()
        assert ended.wait(10)
