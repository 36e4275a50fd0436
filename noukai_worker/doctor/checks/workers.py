"""Judges who works: whether each queue of ours has a worker, and of the right kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..facts import Facts, Worker
from ..finding import Finding, note, problem, warning

STREAM, EXECUTE = "noukai.stream", "noukai.execute"
_POOL = "CELERY_CUSTOM_WORKER_POOL=noukai_worker.pool"
_ENOUGH = 4
"""Celery's own multiplier: from here on nobody has thought of long tasks."""


def workers(facts: Facts) -> Iterator[Finding]:
    """All live workers, or the one that this process is."""
    if facts.everyone:
        yield from _queues(facts)
    elif not facts.process.worker and not facts.broker.trouble:
        yield note(
            "workers_unseen",
            "workers",
            "the workers were not looked at: this app does not speak to them (worker_enable_remote_control)",
            "run the doctor with an app that does, or read the workers' logs: each says the same at its start",
        )
    for name, count in Counter(worker.name for worker in facts.workers).items():
        if count > 1:
            yield warning(
                "same_name",
                name,
                f"{count} workers have this name: Flower and inspect take them for one, and see only one of them",
                "give each a name of its own: --name, or celery worker -n",
            )
    for worker in facts.workers:
        yield from _kind(worker, facts)


def _queues(facts: Facts) -> Iterator[Finding]:
    consumed = {queue for worker in facts.workers for queue in worker.queues}
    waiting = facts.broker.waiting
    if not facts.workers:
        text = "no worker answers: nobody works on runs, and nobody looks after those that are overdue"
        said = problem if any(waiting.values()) else warning
        yield said("nobody_works", "workers", text, "start noukai-worker stream, and noukai-worker worker")
        return
    for queue in dict.fromkeys(task.queue for task in facts.app.ours if task.queue):
        if queue in consumed:
            continue
        names = [task.name for task in facts.app.ours if task.queue == queue]
        count = waiting.get(queue, 0)
        text = f"no worker consumes the queue of {', '.join(names)}" + (f"; {count} messages wait" if count else "")
        said = problem if count else warning
        yield said("queue_unattended", queue, text, f"start a worker with -Q {queue}, or change task_routes")


def _kind(worker: Worker, facts: Facts) -> Iterator[Finding]:
    queues = {task.name: task.queue for task in facts.app.ours}
    streams, executes = queues.get(STREAM, STREAM) in worker.queues, queues.get(EXECUTE, EXECUTE) in worker.queues
    if streams and not worker.on_loop:
        yield problem(
            "foreign_pool",
            worker.name,
            f"{worker.pool} takes one of {worker.places} places for each stream, and gives none back when it stops",
            f"consume {queues.get(STREAM, STREAM)} with noukai-worker stream, or celery worker -P custom and {_POOL}:TaskPool",
        )
    if worker.on_loop:
        blocking = sorted(set(worker.queues) - {queue for name, queue in queues.items() if name != EXECUTE} - {STREAM})
        if blocking:
            said = problem if executes else warning
            yield said(
                "blocks_loop",
                worker.name,
                f"the asyncio pool also consumes {', '.join(blocking)}: a task that blocks stops all streams",
                f"-Q {queues.get(STREAM, STREAM)} here, and another worker for the rest",
            )
    elif executes and any(kind in worker.pool for kind in ("gevent", "eventlet", "solo")):
        yield warning(
            "unfit_pool",
            worker.name,
            f"execute runs block, and the pool {worker.pool} is not made for that",
            f"noukai-worker worker, or celery worker -P custom and {_POOL}:ThreadPool",
        )
    elif executes and not streams and not worker.ours:
        yield warning(
            "foreign_pool",
            worker.name,
            f"{worker.pool} cannot end a call: a worker that stops waits for it, and a cancelled run's goes on",
            f"noukai-worker worker, or celery worker -P custom and {_POOL}:ThreadPool",
        )
    if (streams or executes) and _hoards(worker):
        many = f"{worker.prefetch} messages" if worker.prefetch else "any number of messages"
        yield warning(
            "hoards",
            worker.name,
            f"takes {many} for {worker.places} places: runs wait in it while other workers are idle",
            "start it with worker_prefetch_multiplier=1 (and no --prefetch-multiplier)",
        )


def _hoards(worker: Worker) -> bool:
    return worker.prefetch is not None and (worker.prefetch == 0 or worker.prefetch >= _ENOUGH * worker.places)
