"""The doctor on real installations that are sound, and on such as are not."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.processes import Process, RedisServer, free_port, running, until

from .conftest import CommandLine

pytestmark = pytest.mark.integration

# As many as any machine lets a process have open files for.
FEW = {"NOUKAI_WORKER_STREAM_CONCURRENCY": "50"}
NOT_SAVED = ("--appendonly", "no")
SHOP = """
from celery import Celery
from noukai_worker import configure
app = Celery("shop", broker="{url}", backend="{url}", broker_transport_options={{"visibility_timeout": 600}})
configure(app)
app.conf.worker_cancel_long_running_tasks_on_connection_loss = True

@app.task(acks_late=True)
def ship(): ...
"""


class Examination:
    """One call of the doctor, and what it said."""

    def __init__(self, command: CommandLine, *arguments: str, cwd: Path | None = None) -> None:
        answer = command("doctor", "--json", *arguments, cwd=cwd)
        self.status, self.errors, self.text = answer.returncode, answer.stderr, answer.stdout
        self.findings: list[dict[str, str]] = [json.loads(line) for line in answer.stdout.splitlines()]

    @property
    def said(self) -> dict[tuple[str, str], str]:
        """What counts, by place and code: its severity."""
        return {(one["where"], one["code"]): one["severity"] for one in self.findings if one["severity"] != "note"}


Examine = Callable[..., Examination]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Servers with options of the test's choice."""
    with contextlib.ExitStack() as stack:

        def start(*options: str) -> RedisServer:
            made = RedisServer(tmp_path / f"redis-{free_port()}", options=options)
            stack.callback(made.stop)
            made.start()
            return made

        yield start


@pytest.fixture
def examine(alone: Callable[..., CommandLine]) -> Examine:
    def call(url: str, *arguments: str, cwd: Path | None = None, **variables: str) -> Examination:
        environment = {"NOUKAI_REDIS_URL": url, "NOUKAI_API_KEY": "nk_hush", **FEW, **variables}
        return Examination(alone(**environment), *arguments, cwd=cwd)

    return call


def celery_worker(app: str, folder: Path, *options: str, **variables: str) -> Process:
    environment = {"NOUKAI_API_KEY": "nk_hush", "PYTHONPATH": str(folder), **variables}
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-A", app, "worker", "-l", "INFO", *options]
    return Process(command, folder / "worker.log", environment)


def logged(worker: Process, code: str) -> Any:
    def line() -> str | None:
        assert worker.alive, worker.output()
        return next((line for line in worker.output().splitlines() if f"doctor: {code} " in line), None)

    return until(line, f"the worker logs {code}")


def test_a_sound_installation_has_nothing_wrong(
    installation: dict[str, str], alone: Callable[..., CommandLine]
) -> None:
    command = alone(**installation, **FEW)
    until(lambda: Examination(command).said == {}, "both workers answer")
    first, second = Examination(command), Examination(command, "--strict")
    assert (first.status, first.errors, first.said) == (0, "", {})
    assert (second.status, second.text) == (0, first.text)


def test_a_server_that_forgets_is_two_problems_with_their_remedies(
    server: Callable[..., RedisServer], examine: Examine, alone: Callable[..., CommandLine]
) -> None:
    url = server(*NOT_SAVED, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru").url
    found = examine(url)
    assert found.status == 1
    assert found.said == {
        ("store", "evicts"): "problem",
        ("store", "not_persistent"): "problem",
        ("workers", "nobody_works"): "warning",
    }
    person = alone(NOUKAI_REDIS_URL=url, NOUKAI_API_KEY="nk_hush", **FEW)("doctor")
    lines = person.stdout.splitlines()
    assert (person.returncode, person.stderr) == (1, "")
    assert lines[0].startswith("problem  store: maxmemory-policy is allkeys-lru: ")
    assert lines[1].strip().startswith("→ CONFIG SET maxmemory-policy noeviction")
    assert lines[-1].startswith("2 problems, 1 warning")
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        assert client.keys("noukai*") == [], "the doctor leaves nothing behind"


def test_warnings_alone_are_no_failure_unless_asked_for(server: Callable[..., RedisServer], examine: Examine) -> None:
    url = server("--appendfsync", "no").url
    assert examine(url).said == {("store", "fsync_no"): "warning", ("workers", "nobody_works"): "warning"}
    assert (examine(url).status, examine(url, "--strict").status) == (0, 1)


@pytest.mark.parametrize(
    ("options", "codes"),
    [
        (("--replicaof", "127.0.0.1 1"), {"replica"}),
        (("--min-replicas-to-write", "1"), {"script_refused"}),
        (("--maxmemory", "100kb"), {"script_refused", "memory_nearly_full"}),
    ],
)
def test_a_server_that_takes_no_writes(
    server: Callable[..., RedisServer], examine: Examine, options: tuple[str, ...], codes: set[str]
) -> None:
    found = examine(server(*options).url)
    assert found.status == 1
    assert {code for where, code in found.said if where == "store"} == codes


def test_a_user_who_lacks_a_command(server: Callable[..., RedisServer], examine: Examine) -> None:
    made = server()
    with contextlib.closing(redis.Redis.from_url(made.url)) as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">hush", "~*", "&*", "+@all", "-xdel", "-subscribe")
        client.execute_command("ACL", "SETUSER", "blind", "on", ">hush", "~*", "&*", "+@all", "-info", "-config")
    broker = {"NOUKAI_BROKER_URL": made.url}
    lacking = examine(made.url.replace("//", "//worker:hush@"), **broker)
    assert lacking.said[("store", "commands_denied")] == "problem"
    (finding,) = (one for one in lacking.findings if one["code"] == "commands_denied")
    assert "XDEL" in finding["message"]
    assert "SUBSCRIBE" in finding["message"]
    assert "+xdel" in finding["remedy"]
    blind = examine(made.url.replace("//", "//blind:hush@"), **broker)
    assert blind.said == {("workers", "nobody_works"): "warning"}
    assert "not_permitted" in {one["code"] for one in blind.findings}
    assert "hush" not in lacking.text + lacking.errors + blind.text + blind.errors


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_an_unreachable_broker(server: Callable[..., RedisServer], examine: Examine, scheme: str) -> None:
    found = examine(server().url, NOUKAI_BROKER_URL=f"{scheme}://u:hush@127.0.0.1:{free_port()}/0")
    assert (found.status, found.said) == (1, {("broker", "unreachable"): "problem"})
    assert "hush" not in found.text + found.errors


def test_a_broker_of_its_own_may_forget(server: Callable[..., RedisServer], examine: Examine) -> None:
    found = examine(server().url, NOUKAI_BROKER_URL=server(*NOT_SAVED).url)
    assert (found.status, found.said[("broker", "not_persistent")]) == (0, "warning")


def test_without_redis_it_says_so_and_no_more(examine: Examine) -> None:
    found = examine(f"redis://u:hush@127.0.0.1:{free_port()}/0")
    assert (found.status, found.errors) == (1, "")
    assert found.said == {("store", "unreachable"): "problem", ("broker", "unreachable"): "problem"}
    assert "hush" not in found.text


def test_a_worker_whose_pool_is_not_ours_says_so_and_is_seen(
    server: Callable[..., RedisServer], examine: Examine, tmp_path: Path
) -> None:
    url = server(*NOT_SAVED).url
    options = ("-P", "prefork", "-c", "1", "-Q", "noukai.stream", "-n", "forks@here")
    worker = celery_worker("noukai_worker", tmp_path, *options, NOUKAI_REDIS_URL=url)
    with running(worker):
        for code in ("foreign_pool", "not_persistent"):
            assert "ERROR" in logged(worker, code)
        until(lambda: "forks@here ready." in worker.output(), "the worker is ready")
        found = examine(url)
        assert found.said == {
            ("forks@here", "foreign_pool"): "problem",
            ("store", "not_persistent"): "problem",
            ("noukai.execute", "queue_unattended"): "warning",
        }
        assert "Traceback" not in worker.output()
    assert "hush" not in worker.output()


def test_an_applications_own_app_is_looked_at_by_name_and_at_its_workers_start(
    server: Callable[..., RedisServer], examine: Examine, tmp_path: Path
) -> None:
    url = server().url
    (tmp_path / "shop.py").write_text(SHOP.format(url=url))
    expected = {
        ("app", "cancels_on_connection_loss"): "problem",
        ("broker", "no_socket_timeout"): "warning",
        ("broker", "visibility_below_longest"): "warning",
    }
    found = examine(url, "-A", "shop", cwd=tmp_path)
    assert (found.status, found.said) == (1, expected | {("workers", "nobody_works"): "warning"})
    environment = {"NOUKAI_REDIS_URL": url, "CELERY_CUSTOM_WORKER_POOL": "noukai_worker.pool:TaskPool"}
    options = ("-P", "custom", "-c", "10", "-Q", "noukai.stream", "-n", "loop@here")
    worker = celery_worker("shop", tmp_path, *options, **environment)
    with running(worker):
        for _, code in expected:
            assert ("ERROR" if code == "cancels_on_connection_loss" else "WARNING") in logged(worker, code)
        until(lambda: "loop@here ready." in worker.output(), "the worker is ready")
        found = examine(url, "-A", "shop", cwd=tmp_path)
        assert found.said == expected | {("noukai.execute", "queue_unattended"): "warning"}


def test_an_app_that_is_not_there_is_one_line(alone: Callable[..., CommandLine]) -> None:
    answer = alone()("doctor", "-A", "nowhere.at_all")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("error: --app nowhere.at_all: ")
    assert answer.stderr.count("\n") == 1
