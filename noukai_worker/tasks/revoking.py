"""Makes Celery's revocations cancel runs, whatever they are doing: `AsyncResult.revoke`, Flower's button, `celery control revoke`.

Celery knows a task while a worker has its message. A run that is delayed, paused or waits for its retry has none, so the order
itself is heard, in every worker; to cancel a run twice does no harm.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.signals import task_revoked
from celery.worker import state as worker_state
from celery.worker.control import Panel
from kombu.utils.functional import maybe_list

from ..errors import RunFinished, RunNotFound, StoreUnavailable
from ..runs import State, operations, shared
from ..settings import current
from .base import FlowTask
from .dispatch import end_cancelled

logger = logging.getLogger(__name__)


def listen(app: Celery) -> None:
    """Hear revocations in this worker, from now on; Celery carries them out as ever."""
    task_revoked.connect(_revoked, weak=False, dispatch_uid="noukai")
    for name in ("revoke", "terminate"):
        command = Panel.data[name]
        if not hasattr(command, "heard_by_noukai"):
            Panel.data[name] = _hearing(app, command, terminates=name == "terminate")


def _hearing(app: Celery, command: Callable[..., Any], *, terminates: bool) -> Callable[..., Any]:
    @functools.wraps(command)
    def heard(state: Any, *args: Any, **arguments: Any) -> Any:
        answer = command(state, *args, **arguments)
        ids = [str(task_id) for task_id in maybe_list(arguments.get("task_id")) or ()]
        # Redis may take its time, and this is the thread that feeds the worker.
        terminate = terminates or bool(arguments.get("terminate"))
        threading.Thread(target=_cancel, args=(app, ids, terminate), name="noukai-revoke", daemon=True).start()
        return answer

    heard.heard_by_noukai = True  # type: ignore[attr-defined]
    return heard


def _cancel(app: Celery, ids: Iterable[str], terminate: bool) -> None:
    store = shared(current().redis_url, current().answer_within)
    for run_id in ids:
        try:
            view = store.perform(operations.peek(run_id))
            if view is None or (view.state is State.RUNNING and not terminate):
                continue
            cancelled = store.perform(operations.cancel(run_id, reason="revoked"))
            if cancelled.before is not State.CANCELLED:
                end_cancelled(app, cancelled)
        except RunFinished:
            # It may be redriven under its id: Celery must not throw its message away then.
            worker_state.revoked.discard(run_id)
        except RunNotFound:
            continue
        except StoreUnavailable as error:
            logger.warning("run %s was revoked and could not be cancelled (%s): revoke it again", run_id, error)


def _revoked(sender: Any, request: Any, **_: Any) -> None:
    # A message that Celery throws away: the run has ended, and its log says so.
    if not isinstance(sender, FlowTask):
        return
    with suppress(RunFinished, RunNotFound):
        shared(current().redis_url, current().answer_within).perform(operations.cancel(request.id, reason="revoked"))
