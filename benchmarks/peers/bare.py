"""A bare Celery app with a Redis broker, as in Celery's own first steps."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("bare", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])


@app.task
def nothing() -> None:
    """Something to be asked for."""
