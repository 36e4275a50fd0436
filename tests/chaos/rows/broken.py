"""Row 10: the suite itself: each law is broken on purpose, and the row that watches over it must go red."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..figures import Figures
from ..patches import PATCHES, Patch
from ..scale import Scale

TITLE = "each law broken on purpose: which row catches it"
SHORT = (2, 8)
"""The laws that the short form breaks: those that the quickest row catches."""
PATIENCE = 15.0

Play = Callable[..., Figures]


def play(rows: dict[str, Play], scale: Scale, folder: Path) -> Figures:
    """Rows in their short form, with a copy of the code that breaks one law."""
    figures = Figures("10")
    for number, patch in enumerate(PATCHES):
        if scale.long or patch.law in SHORT:
            _break(figures, patch, rows[patch.row], folder / str(number))
    return figures


def _break(figures: Figures, patch: Patch, row: Play, folder: Path) -> None:
    figures.faults += 1
    name = f"law {patch.law}: {patch.what}"
    try:
        said = row(Scale(patience=PATIENCE), folder, package=patch.copy_to(folder / "package")).red
    except AssertionError as error:
        said = [str(error).splitlines()[0]]
    caught = [complaint for complaint in said if re.search(patch.because, complaint)]
    figures.own[name] = f"row {patch.row}: {(caught or said or ['nothing'])[0][:160]}"
    figures.demand(caught, f"{name}: row {patch.row} did not say {patch.because!r}, but {said}")
