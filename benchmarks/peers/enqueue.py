"""What a user of Celery would write: a task with the same arguments, sent with `apply_async`."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

FLOW = "acme/demo/load"
MESSAGE = "x" * 180


def bare(broker: str, results: str | None) -> Callable[[int], None]:
    """A function that sends so many messages one by one, in an app with Celery's defaults; results go to `results`, if to any."""
    app = Celery("shop", broker=broker, backend=results, set_as_current=False)

    @app.task(name="shop.flow")
    def flow(slug: str, message: str) -> None: ...

    def send(runs: int) -> None:
        for _ in range(runs):
            flow.apply_async((FLOW,), {"message": MESSAGE})

    return send
