"""An application with a Celery app of its own, as the README tells to make one.

CHAOS_VISIBILITY shortens its visibility timeout (seconds).
"""

from __future__ import annotations

import os

from celery import Celery

from noukai_worker import configure

URL = os.environ["NOUKAI_REDIS_URL"]
app = Celery("shop", broker=URL, backend=URL)
app.conf.broker_transport_options = {
    "visibility_timeout": int(os.environ.get("CHAOS_VISIBILITY", "300")),
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "polling_interval": 0.2,
}
configure(app)
