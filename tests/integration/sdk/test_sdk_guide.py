"""Every example of docs/sdk.md is run as it stands, in a process of its own, against a local Noukai."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
GUIDE = (Path(__file__).parents[3] / "docs" / "sdk.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 16


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_and_prints_what_it_promises(example: str, run_quietly: Callable[..., str]) -> None:
    assert bool(run_quietly(example)) == ("print" in example)
