"""The rows of the table, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..figures import Figures
from . import broken, crowd, frozen, held, killed, outages, rolling, service, soak, visibility


@dataclass(frozen=True, slots=True)
class Row:
    """`play(scale, folder, package=None)` gives the figures."""

    title: str
    play: Callable[..., Figures]


ROWS: dict[str, Row] = {
    "1": Row(killed.TITLE, killed.play),
    "2": Row(outages.TITLE, outages.play),
    "2p": Row(outages.POWER_TITLE, outages.power_cut),
    "3": Row(frozen.TITLE, frozen.play),
    "4": Row(rolling.TITLE, rolling.play),
    "5": Row(service.TITLE, service.play),
    "6": Row(visibility.TITLE, visibility.play),
    "7": Row(held.TITLE, held.play),
    "8": Row(crowd.TITLE, crowd.play),
    "9": Row(soak.TITLE, soak.play),
}
ROWS["10"] = Row(broken.TITLE, partial(broken.play, {name: row.play for name, row in ROWS.items()}))
