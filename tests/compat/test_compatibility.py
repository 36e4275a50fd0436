"""The published client against our flow server, and our client in its place (issue 3; WIRE.md 3 to 6).

Scenarios are plain functions over the public names of `noukai_sdk` (`scenarios`), played by `run.py` in two
environments. Each holds the facts that the published client must bring to light; ours must bring the same, but for
the departures.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from noukai_sdk import __version__
from tests.compat.departures import DEPARTURES
from tests.compat.scenarios import SCENARIOS
from tests.compat.scenarios.stage import KNOWN

# The first test waits until all scenarios are played, and for the published package to be installed.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
PLAYED = [f"{name}[{side}]" for name, scenario in SCENARIOS.items() for side in scenario.sides]
GUIDE = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text()


def of(outcomes: dict[str, Any], key: str) -> Any:
    """The outcome of a scenario that was played to its end."""
    assert key in outcomes, f"not played: {outcomes['complaints']}"
    outcome = outcomes[key]
    assert not (isinstance(outcome, dict) and "crashed" in outcome), outcome
    return outcome


def without_more(own: Any, theirs: Any) -> Any:
    """`own` without what its errors know and theirs do not: an error may say more than it did."""
    if isinstance(own, dict) and isinstance(theirs, dict):
        is_error = "caught" in own and own["caught"] == theirs.get("caught")
        kept = {name: value for name, value in own.items() if not is_error or name in theirs or name not in KNOWN}
        return {name: without_more(value, theirs.get(name)) for name, value in kept.items()}
    if isinstance(own, list) and isinstance(theirs, list) and len(own) == len(theirs):
        return [without_more(*pair) for pair in zip(own, theirs, strict=True)]
    return own


def lacks(own: Any, theirs: Any, path: str = "") -> list[str]:
    """What is offered there and not here, or otherwise."""
    if isinstance(theirs, dict):
        own = own if isinstance(own, dict) else {}
        return [
            lack
            for name, value in theirs.items()
            for lack in (lacks(own[name], value, f"{path}/{name}") if name in own else [f"{path}/{name}"])
        ]
    if isinstance(theirs, list) and not path.startswith(("/signatures", "/rooms")):
        return [f"{path}/{name}" for name in theirs if name not in own]
    return [] if own == theirs else [f"{path}: {own}, not {theirs}"]


def test_the_two_packages_are_not_the_same(published: dict[str, Any], ours: dict[str, Any]) -> None:
    assert published["version"] == "0.5.2"
    assert ours["version"] == __version__


@pytest.mark.parametrize("key", PLAYED)
def test_the_published_client_cannot_tell_our_server_from_the_service(published: dict[str, Any], key: str) -> None:
    assert of(published, key) == SCENARIOS[key.partition("[")[0]].expected


@pytest.mark.parametrize("key", PLAYED)
def test_our_client_does_the_same_except_where_a_weakness_is_answered(
    published: dict[str, Any], ours: dict[str, Any], key: str
) -> None:
    theirs, own = of(published, key), of(ours, key)
    departure = DEPARTURES.get(key.partition("[")[0])
    if departure is None:
        assert without_more(own, theirs) == theirs
    else:
        assert own == departure.outcome
        assert without_more(own, theirs) != theirs, "no departure any more: take it out of the table"


def test_our_client_prints_nothing(ours: dict[str, Any]) -> None:
    assert ours["complaints"] == ""


@pytest.mark.parametrize(
    ("part", "size"),
    {"names": 56, "rooms": 8, "members": 50, "fields": 19, "families": 50, "signatures": 57}.items(),
)
def test_all_that_the_published_package_offers_is_here(
    published: dict[str, Any], ours: dict[str, Any], part: str, size: int
) -> None:
    offered = published["surface"][part]
    assert len(offered) == size
    assert lacks(ours["surface"][part], offered, f"/{part}") == []


def test_every_departure_is_in_the_guide_and_is_that_of_a_scenario() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| ([\d.]+) \| (.+) \|$", GUIDE, re.MULTILINE)
    assert rows == [(name, departure.section, departure.reason) for name, departure in DEPARTURES.items()]
    assert DEPARTURES.keys() <= SCENARIOS.keys()
