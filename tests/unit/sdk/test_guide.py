"""docs/sdk.md names everything there is; its examples are run in tests/integration/sdk/test_sdk_guide.py."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import noukai_sdk
from noukai_sdk import AsyncFlow, Flow, Job, Noukai, NoukaiError, Run

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "sdk.md").read_text()
FIRST_CELLS = "\n".join(line.split("|")[1] for line in GUIDE.splitlines() if line.startswith("| "))


def test_every_argument_of_a_client_is_in_the_table() -> None:
    arguments = set(inspect.signature(Noukai).parameters)
    assert {name for name in arguments if f"`{name}`" not in FIRST_CELLS} == set()


def test_every_error_is_in_the_table() -> None:
    errors = {name for name in noukai_sdk.__all__ if _is_error(getattr(noukai_sdk, name))} - {"NoukaiError"}
    assert {name for name in errors if not re.search(rf"^\| .*\b{name}\b", GUIDE, re.MULTILINE)} == set()


def test_every_method_is_told_of() -> None:
    for kind in (Flow, AsyncFlow, Job, Run):
        methods = {name for name, member in vars(kind).items() if name[0] != "_" and inspect.isfunction(member)}
        assert {name for name in methods if not re.search(rf"\b{name}\b", GUIDE)} == set()


def test_every_weakness_has_its_row() -> None:
    rows = GUIDE.split("## What is different")[1]
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", rows, re.MULTILINE)] == list(range(1, 23))


def test_its_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in GUIDE.splitlines()
        if line[:1] == "#"
    }
    for link in re.findall(r"\]\(([^)]+)\)", GUIDE):
        assert link[1:] in headings if link.startswith("#") else (DOCS / link).exists(), link


def _is_error(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, NoukaiError)
