"""The published client against our flow server, and our client in its place (issue 3; WIRE.md 3 to 6).

Scenarios are plain functions over the public names of `noukai_sdk` (`scenarios`), played by `run.py` in two
environments. Each holds the facts that the published client must bring to light; ours must bring the same, but for
the departures.
"""

from __future__ import annotations

from typing import Any

import pytest

from noukai_sdk import __version__
from tests.compat.departures import DEPARTURES
from tests.compat.scenarios import SCENARIOS

pytestmark = pytest.mark.integration
PLAYED = [f"{name}[{side}]" for name, scenario in SCENARIOS.items() for side in scenario.sides]


def of(outcomes: dict[str, Any], key: str) -> Any:
    """The outcome of a scenario that was played to its end."""
    assert key in outcomes, outcomes.get("broken off", "it was not played")
    outcome = outcomes[key]
    assert not (isinstance(outcome, dict) and "crashed" in outcome), outcome
    return outcome


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
        assert own == theirs
    else:
        assert own == departure.outcome
        assert own != theirs, "no departure any more: take it out of the table"


def test_every_departure_is_that_of_a_scenario() -> None:
    assert DEPARTURES.keys() <= SCENARIOS.keys()
