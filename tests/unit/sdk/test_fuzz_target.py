"""What `./run fuzz` tries holds for its seeds, and for each of their beginnings, so that it cannot rot unseen."""

from __future__ import annotations

import pytest

from tests.fuzz.target import SEEDS, one_input


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_a_seed_and_its_beginnings(seed: bytes) -> None:
    for end in range(len(seed) + 1):
        one_input(seed[:end])
