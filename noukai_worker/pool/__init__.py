"""Two Celery execution pools: tasks as greenlets on one asyncio event loop, and tasks in threads that can be interrupted.

Use them with ``worker_pool = "noukai_worker.pool:TaskPool"`` (or ``ThreadPool``), or name one in ``CELERY_CUSTOM_WORKER_POOL``
for ``celery worker --pool custom``. They know Celery and nothing of this project.

Task bodies stay synchronous functions and call ``run(coroutine)``; the same task then runs in every other pool too.
"""

from .blocking import in_thread
from .bridge import await_, run, running_in_pool
from .job import Interruption, draining, has_recorded, interruption, is_ours, recorded
from .taskpool import TaskPool, on_loop_close
from .threads import ThreadPool, interruptible

__all__ = [
    "Interruption",
    "TaskPool",
    "ThreadPool",
    "await_",
    "draining",
    "has_recorded",
    "in_thread",
    "interruptible",
    "interruption",
    "is_ours",
    "on_loop_close",
    "recorded",
    "run",
    "running_in_pool",
]
