"""Tests of what only RabbitMQ does. They run where the suite runs on RabbitMQ: `NOUKAI_TEST_BROKER=rabbitmq`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent

if os.environ.get("NOUKAI_TEST_BROKER") != "rabbitmq":
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Celery, in the enqueuing process, leaves some of its sockets to the garbage collector."""
    left = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(left)
