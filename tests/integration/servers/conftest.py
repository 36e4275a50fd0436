from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Celery, in the enqueuing process, leaves some of its sockets to the garbage collector."""
    left = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(left)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine's."""
    for name in ("NOUKAI_API_KEY", "NOUKAI_ENV", "NOUKAI_BROKER_URL", "NOUKAI_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)
