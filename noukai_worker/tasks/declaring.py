"""Declares our queues on RabbitMQ before a worker consumes, as a step of its start."""

from __future__ import annotations

import logging
from typing import Any

from amqp.exceptions import PreconditionFailed
from celery import bootsteps

from . import conf

logger = logging.getLogger(__name__)


class Declaring(bootsteps.StartStopStep):  # type: ignore[misc] # Celery has no types
    """All of them, whichever the worker consumes from: Celery's delayed delivery, set up next, wants to find them.

    It belongs to the worker's blueprint and not to its consumer's: only there it is sure to come before everything that consumes.
    """

    def start(self, worker: Any) -> None:
        """Raises SystemExit if there are queues of another kind under these names: only an operator can know what they hold."""
        queues, name = worker.app.amqp.queues, ""
        try:
            with worker.app.connection_for_write() as connection:
                connection.connect()
                for name in conf.QUEUES:
                    queues[name](connection.default_channel).declare()
        except PreconditionFailed as error:
            remedy = f"empty and delete it (rabbitmqctl delete_queue {name}), then start this worker again"
            logger.critical(
                "%s on the broker is not a quorum queue as declared here: %s; %s", name, error.reply_text, remedy
            )
            raise SystemExit(1) from None
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises: Celery waits for a broker that is away
            logger.warning(
                "the queues could not be declared (%s); each worker declares its own when the broker is back", error
            )
