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
