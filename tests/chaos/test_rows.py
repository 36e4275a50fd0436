"""Every row in its short form: nothing lost, nothing done twice, no log without an end. `./run chaos` plays the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from .__main__ import play
from .rows import ROWS
from .scale import Scale

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table_holds(row: str, tmp_path: Path, record_property: object) -> None:
    figures = play(row, Scale(), tmp_path)
    record_property("figures", figures.json())  # type: ignore[operator]
    assert figures.red == [], figures.json()
