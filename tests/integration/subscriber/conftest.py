from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
import pytest
import redis
import uvicorn
from fastapi import FastAPI

from noukai_worker.runs import Failure, Lease, RunRequest, RunStore, State, operations, outcome, scripts
from noukai_worker.runs.answers import Advanced, Claimed
from tests.support.processes import RedisServer, until

_BROKEN = outcome.Failed(Failure("boom", "it broke"))


class Writer:
    """Writes runs straight through the store, as a worker does."""

    def __init__(self, url: str) -> None:
        self.store = RunStore(url)
        self._url = url
        self._leases: dict[str, tuple[Lease, int]] = {}

    def close(self) -> None:
        self.store.close()

    def new(self, *, max_entries: int = 100_000, token: str = "t", retention: float = 600.0) -> str:
        run_id = str(uuid.uuid4())
        request = RunRequest.build(flow="acme/demo/hello", message="x")
        self.store.perform(
            operations.create(
                run_id,
                request,
                token=token,
                retention=retention,
                pickup=60,
                max_attempts=3,
                max_age=600,
                max_entries=max_entries,
            )
        )
        self._claim(run_id)
        return run_id

    def write(self, run_id: str, count: int = 1, *, size: int = 20) -> int:
        """Append `count` entries in one act; the new last seq."""
        entry = operations.entry("step_output", {"text": "x" * size})
        return self._advance(run_id, [entry] * count, None)

    def end(self, run_id: str) -> int:
        return self._advance(run_id, [operations.entry("run.completed", {"result": {"n": 1}})], State.COMPLETED)

    def fail(self, run_id: str) -> int:
        lease, position = self._leases[run_id]
        answer = self.store.perform(outcome.close(lease, position, _BROKEN, pickup=60))
        assert isinstance(answer, Advanced)
        return answer.position

    def redrive(self, run_id: str) -> None:
        self.store.perform(operations.redrive(run_id, pickup=60))
        self._claim(run_id)

    def fail_and_redrive(self, run_id: str) -> None:
        """Both at once: nobody can look between them."""
        lease, position = self._leases[run_id]
        with redis.Redis.from_url(self._url) as client, client.pipeline(transaction=True) as pipeline:
            for order in (outcome.close(lease, position, _BROKEN, pickup=60), operations.redrive(run_id, pickup=60)):
                pipeline.eval(scripts.load(order.script).text, len(order.keys), *order.keys, *order.args)
            pipeline.execute()
        self._claim(run_id)

    def _claim(self, run_id: str) -> None:
        claimed = self.store.perform(operations.claim(run_id, claim_id=uuid.uuid4().hex, lease=60, worker="w"))
        assert isinstance(claimed, Claimed)
        self._leases[run_id] = (claimed.lease, claimed.lease.position)

    def _advance(self, run_id: str, entries: list[tuple[bytes, bytes]], to: State | None) -> int:
        lease, position = self._leases[run_id]
        answer = self.store.perform(
            operations.advance(lease, position=position, extend=60, entries=entries, to=to),
        )
        assert isinstance(answer, Advanced)
        self._leases[run_id] = (lease, answer.position)
        return answer.position

    def write_all(self, lengths: dict[str, int], progress: Callable[[int], None]) -> None:
        """Write runs to their ends, in random order and random portions; tells how many entries there are in all."""
        chance = random.Random(7)
        left = dict(lengths)
        written = 0
        while left:
            run_id = chance.choice(list(left))
            count = min(left[run_id], chance.choice((1, 1, 1, 2, 5)))
            left[run_id] -= count
            self.write(run_id, count)
            if not left[run_id]:
                self.end(run_id)
                del left[run_id]
            written += count
            progress(written)


class Link:
    """A proxy before the server, in the running loop, that can ill-treat the connection which sends SUBSCRIBE."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self.delay = 0.0
        """Seconds by which each command on the pub/sub connection comes late."""
        self.open = asyncio.Event()
        """Cleared: what is sent on the pub/sub connection does not arrive."""
        self.open.set()
        self.subscriptions = 0
        self._black_holes: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def swallow(self) -> None:
        """From now on the pub/sub connections that exist bring nothing, and do not break."""
        for silent in self._black_holes:
            silent.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._port)
        silent = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forward(reader, upstream, silent, outward=True))
                tasks.create_task(self._forward(upstream_reader, writer, silent, outward=False))
        except* OSError:
            pass
        finally:
            upstream.close()
            writer.close()
            self._tasks.discard(task)  # type: ignore[arg-type]

    async def _forward(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, silent: asyncio.Event, *, outward: bool
    ) -> None:
        bell = False
        while piece := await source.read(1 << 16):
            if outward and not bell and b"SUBSCRIBE" in piece:
                bell = True
                self._black_holes.append(silent)
            self.subscriptions += outward and b"SUBSCRIBE" in piece
            if bell:
                await asyncio.sleep(self.delay)
                await self.open.wait()
            if not silent.is_set():
                target.write(piece)
                await target.drain()
        target.close()


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[httpx.Client]:
    """The application on a port of its own, in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: server.started, "the web server starts")
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, timeout=20, trust_env=False) as http:
                yield http
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def writer(redis_url: str) -> Iterator[Writer]:
    writer = Writer(redis_url)
    with contextlib.closing(writer.store):
        yield writer


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may stop and start."""
    server = RedisServer(tmp_path / "own")
    server.start()
    yield server
    server.stop()
