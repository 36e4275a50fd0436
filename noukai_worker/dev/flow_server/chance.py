"""Failures by probability, reproducible: for a given seed the n-th execution of a step has one fate."""

from __future__ import annotations

import random
import secrets


class Chance:
    """Draws that depend on nothing but the seed and on what is asked, so not on which run came first."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = secrets.randbits(32) if seed is None else seed

    def strikes(self, probability: float, *what: object) -> bool:
        """Tell whether ``what`` is hit, which happens with ``probability``."""
        return random.Random(f"{self.seed}/{what}").random() < probability  # noqa: S311 - a rehearsal, not a secret
