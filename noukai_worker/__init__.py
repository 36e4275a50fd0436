"""Run paid Noukai flows in the background on Celery, and watch them live.

    from noukai_worker import enqueue, subscribe

    run = enqueue("acme/spelling/grade-3", message="Helo wrld")
    async for entry in subscribe(run.id):
        print(entry.type, entry.data)

Nothing is imported, opened or read until a name is used.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import (
        Run,
        acancel,
        aenqueue,
        aenqueue_many,
        aresume,
        cancel,
        enqueue,
        enqueue_many,
        lift_pause,
        limits,
        recent,
        resume,
        show,
    )
    from .dead_runs import Redriven, adead, aredrive, aredrive_all, dead, redrive, redrive_all
    from .runs import Entry, RunView, State
    from .settings import Settings
    from .subscriber import subscribe
    from .tasks.app import configure
    from .tasks.execute import execute_flow
    from .tasks.job import job_flow
    from .tasks.stream import stream_flow

    celery_app: Any
    __version__: str

__all__ = [
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

_ROOMS = {
    "Entry": "runs",
    "Redriven": "dead_runs",
    "Run": "client",
    "RunView": "runs",
    "Settings": "settings",
    "State": "runs",
    "acancel": "client",
    "adead": "dead_runs",
    "aenqueue": "client",
    "aenqueue_many": "client",
    "aredrive": "dead_runs",
    "aredrive_all": "dead_runs",
    "aresume": "client",
    "cancel": "client",
    "configure": "tasks.app",
    "dead": "dead_runs",
    "enqueue": "client",
    "enqueue_many": "client",
    "lift_pause": "client",
    "limits": "client",
    "execute_flow": "tasks.execute",
    "job_flow": "tasks.job",
    "recent": "client",
    "redrive": "dead_runs",
    "redrive_all": "dead_runs",
    "resume": "client",
    "show": "client",
    "stream_flow": "tasks.stream",
    "subscribe": "subscriber",
}


def __getattr__(name: str) -> Any:
    if name in ("celery_app", "app", "celery"):  # `celery -A noukai_worker` looks for the last two
        return _room("tasks.app").standalone()
    if name == "__version__":
        from importlib.metadata import version

        return version("noukai-worker")
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("execute_flow", "job_flow", "stream_flow"):
        _room("tasks.app").adopt_default()
    found = getattr(_room(_ROOMS[name]), name)
    globals()[name] = found
    return found


def _room(name: str) -> Any:
    """A room, imported if need be. What comes stays, so it is not searched for cycles meanwhile: that takes a fifth of the time."""
    path = f"{__name__}.{name}"
    if path in sys.modules or not gc.isenabled():
        return import_module(path)
    gc.disable()
    try:
        return import_module(path)
    finally:
        if not gc.get_freeze_count():  # else they are the application's, and would thaw
            # All goes where what is old is kept, and the next search is not for all of it.
            gc.freeze()
            gc.unfreeze()
        gc.enable()


def __dir__() -> list[str]:
    return sorted(__all__)
