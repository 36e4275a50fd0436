"""A Celery execution pool that runs tasks as greenlets on one asyncio event loop in one thread.

Use it with ``worker_pool = "noukai_worker.pool:TaskPool"``, or ``CELERY_CUSTOM_WORKER_POOL=noukai_worker.pool:TaskPool``
and ``celery worker --pool custom``. It knows Celery and nothing of this project.

Task bodies stay synchronous functions and call ``run(coroutine)``; the same task then runs in every other pool too.
"""

from .blocking import in_thread
from .bridge import await_, run, running_in_pool
from .job import Interruption, draining, interruption
from .taskpool import TaskPool, on_loop_close

__all__ = [
    "Interruption",
    "TaskPool",
    "await_",
    "draining",
    "in_thread",
    "interruption",
    "on_loop_close",
    "run",
    "running_in_pool",
]
