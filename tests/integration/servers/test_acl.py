"""The rules of docs/redis.md: with them everything of each kind works, and the reader's user can do nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from celery import chord
from celery.result import AsyncResult

from noukai_sdk.testing import FlowServer
from noukai_worker import cancel, enqueue, execute_flow, recent, show, stream_flow, subscribe
from noukai_worker.errors import StoreUnavailable
from noukai_worker.runs import RunStore, State, keys, operations
from noukai_worker.settings import Settings
from noukai_worker.tasks import app as apps
from noukai_worker.web import create_app
from tests.integration.conftest import House, installed
from tests.integration.subscriber.conftest import Writer
from tests.support.cluster import AsOneServer, clustered
from tests.support.processes import RedisServer, until
from tests.support.serving import served

pytestmark = pytest.mark.integration
PAGE = (Path(__file__).parents[3] / "docs" / "redis.md").read_text()
RULES = dict(re.findall(r"^user (noukai-\w+) (.+)$", PAGE, re.MULTILINE))
WORKER, READER = "noukai-worker:worker-password@", "noukai-reader:reader-password@"


@dataclass
class Guarded:
    """A server that knows the users of the page, and an administrator. `url` has a place for a user."""

    url: str
    admin: Any

    def denied(self) -> list[str]:
        return [f"{one['username']}: {one['reason']} {one['object']}" for one in self.admin.acl_log()]


def set_up(client: redis.Redis) -> None:
    for user, rules in RULES.items():
        client.execute_command("ACL", "SETUSER", user, *rules.split())
        with contextlib.suppress(redis.ResponseError):  # before Redis 7.2
            client.execute_command("ACL", "SETUSER", user, "+client|setinfo")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    server = RedisServer(tmp_path / "redis")
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        admin = stack.enter_context(redis.Redis(port=server.port, username="admin", password="a"))
        with redis.Redis(port=server.port) as anybody:
            set_up(anybody)
            anybody.execute_command("ACL", "SETUSER", "admin", "on", ">a", "+@all", "~*", "&*")
            anybody.execute_command("ACL", "SETUSER", "default", "off")
        yield Guarded(f"redis://{{}}127.0.0.1:{server.port}/0", admin)


@pytest.fixture
def guarded_house(guarded: Guarded, flow_server: FlowServer, tmp_path: Path) -> Iterator[House]:
    settings = Settings(redis_url=guarded.url.format(WORKER), base_url=flow_server.base_url)
    with installed(settings, flow_server, tmp_path) as house:
        yield house


def test_workers_enqueuers_and_celery_need_no_more_than_their_user_may(guarded_house: House, guarded: Guarded) -> None:
    house = guarded_house
    for kind in ("stream", "execute"):
        house.worker(kind)
    streamed = enqueue("acme/spelling/grade-3", message="x", priority=5)
    executed = enqueue("acme/demo/hello-world", message="x", mode="execute", delay=0.3)
    assert next(iter(subscribe(streamed.id))).seq == 1
    house.wait(streamed.id, executed.id)
    endless = enqueue("acme/demo/slow-essay", message="x")
    until(lambda: house.view(endless.id).state is State.RUNNING, "it runs")
    assert cancel(endless.id) is State.RUNNING
    assert AsyncResult(executed.id, app=apps.current()).get(timeout=20) == executed.result()
    assert stream_flow.delay("acme/demo/hello-world", message="x").get(timeout=20)
    header = [execute_flow.si("acme/demo/hello-world", message=str(n)) for n in range(2)]
    assert chord(header)(execute_flow.si("acme/demo/hello-world", message="after")).get(timeout=20)
    assert len(recent(3)) == 3
    assert len(apps.current().control.ping(timeout=2)) == 2, "remote control works"
    heard: list[dict[str, Any]] = []

    def hear(event: dict[str, Any]) -> None:
        heard.append(event)
        events.should_stop = True

    with apps.current().connection_for_read() as connection:
        events = apps.current().events.Receiver(connection, handlers={"*": hear})
        events.capture(limit=None, timeout=20)
    assert heard, "as Flower hears it"
    house.workers.pop().stop()
    enqueue("acme/demo/hello-world", message="x", delay=0.1)
    for worker in house.workers:
        worker.stop()
    assert guarded.denied() == []


def test_a_reader_subscribes_shows_and_lists(guarded_house: House, guarded: Guarded) -> None:
    house = guarded_house
    house.worker("stream")
    run = enqueue("acme/spelling/grade-3", message="x")
    assert_reads(guarded.url.format(READER), run.id)
    house.wait(run.id)
    settings = Settings(redis_url=guarded.url.format(READER))
    with served(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False) as web:
        assert web.get("/readyz").status_code == 200
        assert web.get(f"/runs/{run.id}", params={"token": run.token}).json()["status"] == "completed"
        events = web.get(f"/runs/{run.id}/events", params={"token": run.token})
        assert events.text.count("\nid: ") + events.text.startswith("id: ") == show(run.id).position
    assert guarded.denied() == []


def test_a_reader_can_do_nothing_else(guarded: Guarded) -> None:
    with contextlib.closing(Writer(guarded.url.format(WORKER))) as writer:
        run_id = writer.new()
        before = guarded.admin.dump(keys.run(run_id)), guarded.admin.xlen(keys.log(run_id))
        guarded.admin.set("secret", "hush")
        refused: list[tuple[Any, ...]] = [
            ("SET", "noukai:{x}:run", "1"),
            ("DEL", keys.run(run_id)),
            ("HSET", keys.run(run_id), "state", "completed"),
            ("XADD", keys.log(run_id), "99-0", "entry", "{}"),
            ("PEXPIRE", keys.log(run_id), 1),
            ("PUBLISH", keys.channel(run_id), "{}"),
            ("SPUBLISH", keys.channel(run_id), "{}"),
            ("SUBSCRIBE", "other"),
            ("PSUBSCRIBE", "*"),
            ("GET", "secret"),
            ("HGETALL", keys.outputs(run_id)),
            ("ZRANGE", keys.DEADLINES, 0, -1),
            ("EVAL", "return redis.call('GET', 'secret')", 0),
            ("EVAL", "return redis.call('HGETALL', KEYS[1])", 1, keys.outputs(run_id)),
            ("EVAL", "return redis.call('DEL', KEYS[1])", 1, keys.run(run_id)),
            ("EVAL", "return redis.call('PUBLISH', ARGV[1], 'x')", 0, keys.channel(run_id)),
            *(
                (command,)
                for command in ("FLUSHALL", "SHUTDOWN", "MONITOR", "KEYS *", "CONFIG GET *", "ACL LIST", "SCAN 0")
            ),
            ("SCRIPT", "FLUSH"),
            ("CLIENT", "KILL", "TYPE", "normal"),
            ("REPLICAOF", "NO", "ONE"),
        ]
        with redis.Redis.from_url(guarded.url.format(READER)) as reader:
            for command in refused:
                words = command[0].split() + list(command[1:])
                with pytest.raises(redis.ResponseError, match=r"permission|NOPERM|can't (run|access)"):
                    reader.execute_command(*words)
        with contextlib.closing(RunStore(guarded.url.format(READER))) as store:
            for operation in (operations.cancel(run_id), operations.due(1, lease=1), operations.dead()):
                with pytest.raises(StoreUnavailable, match="permission"):
                    store.perform(operation)  # type: ignore[arg-type]
        assert (guarded.admin.dump(keys.run(run_id)), guarded.admin.xlen(keys.log(run_id))) == before


def test_the_same_users_on_a_cluster(tmp_path: Path) -> None:
    with clustered(tmp_path / "cluster") as cluster:
        for node in cluster.primaries:
            with redis.Redis(port=node.port) as client:
                set_up(client)
        url = cluster.url.replace("://", "://{}")
        with contextlib.closing(Writer(url.format(WORKER))) as writer:
            runs = [writer.new() for _ in range(9)]
            for run_id in runs:
                writer.write(run_id)
                writer.end(run_id)
            for operation in (operations.due(9, lease=1), operations.recent(), operations.dead()):
                writer.store.perform(operation)  # type: ignore[arg-type]
        for run_id in runs:
            assert_reads(url.format(READER), run_id)
        with contextlib.closing(RunStore(url.format(READER))) as store:
            assert len(store.perform(operations.recent())) == 9
            with pytest.raises(StoreUnavailable, match="permission"):
                store.perform(operations.cancel(runs[0]))
        with AsOneServer(cluster.url) as client:
            for node in cluster.primaries:
                with redis.Redis(port=node.port) as admin:
                    assert {one["username"] for one in admin.acl_log()} <= {"noukai-reader"}
            assert client.zcard(keys.DEADLINES) == 0


def assert_reads(url: str, run_id: str) -> None:
    """Both ways of subscribing give the whole log."""

    async def watch() -> list[int]:
        return [entry.seq async for entry in subscribe(run_id, redis_url=url)]

    seen = asyncio.run(watch())
    assert seen == [entry.seq for entry in subscribe(run_id, redis_url=url)] == list(range(1, len(seen) + 1))
    with contextlib.closing(RunStore(url)) as store:
        assert store.perform(operations.show(run_id)).state is State.COMPLETED
