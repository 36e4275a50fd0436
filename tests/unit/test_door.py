"""The door: its names are locked, it opens nothing, and what stands behind it is what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import noukai_worker


def test_the_names_are_locked() -> None:
    assert noukai_worker.__all__ == [
        "Entry",
        "Redriven",
        "Run",
        "RunView",
        "Settings",
        "State",
        "__version__",
        "acancel",
        "adead",
        "aenqueue",
        "aenqueue_many",
        "aredrive",
        "aredrive_all",
        "aresume",
        "cancel",
        "celery_app",
        "configure",
        "dead",
        "enqueue",
        "enqueue_many",
        "execute_flow",
        "job_flow",
        "lift_pause",
        "limits",
        "recent",
        "redrive",
        "redrive_all",
        "resume",
        "show",
        "stream_flow",
        "subscribe",
    ]
    assert dir(noukai_worker) == sorted(noukai_worker.__all__)


@pytest.mark.parametrize("name", [name for name in noukai_worker.__all__ if name != "celery_app"])
def test_every_name_is_there_and_never_a_room(name: str) -> None:
    assert type(getattr(noukai_worker, name)).__name__ != "module"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        noukai_worker.nothing  # noqa: B018


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_loads_and_opens_nothing() -> None:
    code = "import sys, noukai_worker; print([m for m in ('celery', 'redis', 'httpx', 'pydantic', 'socket') if m in sys.modules])"
    assert fresh(code) == "[]"


SENDING = ("httpx", "aiohttp", "urllib3", "noukai_sdk._transport", "noukai_sdk._models")
"""What only running a flow needs."""
OTHER_ROOMS = (
    "rich",
    "fastapi",
    "noukai_worker.client",
    "noukai_worker.subscriber",
    "noukai_worker.web",
    "noukai_worker.dev",
)


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("from noukai_worker import enqueue; noukai_worker.celery_app", (*SENDING, "rich", "noukai_worker.web")),
        ("from noukai_worker import execute_flow; execute_flow.name", (*SENDING, *OTHER_ROOMS)),
        (
            "noukai_worker.celery_app; import noukai_worker.doctor.step",
            (*SENDING, *OTHER_ROOMS, "noukai_worker.doctor.looking"),
        ),
        ("import noukai_worker.cli.app", (*SENDING, *OTHER_ROOMS, "celery")),
        ("from noukai_worker.__main__ import main; assert main(['worker']) == 1", (*SENDING, *OTHER_ROOMS)),
        ("from noukai_worker.__main__ import main; assert main(['stream']) == 1", (*SENDING, *OTHER_ROOMS)),
    ],
)
def test_a_process_imports_what_its_kind_needs(code: str, unwanted: tuple[str, ...]) -> None:
    """The last two find no Redis: by then the worker has looked at its keys."""
    settings = "import os; os.environ.update(NOUKAI_REDIS_URL='redis://127.0.0.1:1', NOUKAI_API_KEY='nk_test_1')"
    told = f"import sys; print([name for name in {unwanted} if name in sys.modules])"
    assert fresh("; ".join((settings, "import noukai_worker", code, told))) == "[]"


@pytest.mark.parametrize(("pool", "loaded"), [("prefork", "True"), ("thread", "False")])
def test_what_sends_is_imported_before_a_fork(pool: str, loaded: str) -> None:
    code = f"""
import sys, types
from celery.concurrency.{pool} import TaskPool
from noukai_worker.tasks.sweeping import Sweeping
Sweeping(types.SimpleNamespace(pool_cls=TaskPool))
print(all(name in sys.modules for name in ("httpx", "noukai_sdk._flow", "noukai_sdk._transport", "noukai_sdk._models")))
"""
    assert fresh(code) == loaded


@pytest.mark.parametrize(("before", "after"), [("enable", "True"), ("disable", "False")])
def test_the_search_for_cycles_goes_on_as_before(before: str, after: str) -> None:
    code = f"import gc; gc.{before}(); from noukai_worker import State; print(gc.isenabled())"
    assert fresh(code) == after
    code = f"import gc; gc.{before}(); gc.freeze(); n = gc.get_freeze_count(); from noukai_worker import State"
    assert fresh(f"{code}; assert gc.get_freeze_count() > n / 2; print(gc.isenabled())") == after
    code = f"import gc, sys; sys.modules['noukai_worker.runs'] = None; gc.{before}(); import noukai_worker"
    refused = "\ntry: noukai_worker.State\nexcept ImportError: print(gc.isenabled())"
    assert fresh(code + refused) == after


def test_looking_at_a_name_connects_to_nothing() -> None:
    code = """
import socket
def refuse(*args): raise SystemExit("a connection was opened")
socket.socket.connect = refuse
import noukai_worker
for name in noukai_worker.__all__: getattr(noukai_worker, name)
print(sorted(task for task in noukai_worker.celery_app.tasks if task.startswith("noukai")))
"""
    assert fresh(code) == "['noukai.execute', 'noukai.job', 'noukai.stream']"


def test_subscribe_is_a_function_whatever_was_imported_first() -> None:
    code = "import noukai_worker.client, noukai_worker.web; from noukai_worker import subscribe; print(callable(subscribe))"
    assert fresh(code) == "True"


def test_the_stand_alone_app_is_the_default_only_where_there_is_no_other() -> None:
    code = """
from celery import Celery, current_app
{first}
from noukai_worker import execute_flow
print(execute_flow.app.main)
"""
    assert fresh(code.format(first="")) == "noukai_worker"
    assert fresh(code.format(first="app = Celery('shop')")) == "shop"
    assert fresh(code.format(first="from noukai_worker import stream_flow; app = Celery('shop')")) == "shop"
