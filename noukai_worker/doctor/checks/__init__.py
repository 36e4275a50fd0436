"""The doctor's judgements: pure functions from facts to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..facts import Facts
from ..finding import Finding, Severity
from .app import app
from .broker import broker
from .redis import store
from .settings import descriptors, keys, openness, stopping, times
from .versions import packages
from .workers import workers

Check = Callable[[Facts], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (store, broker, packages, app, workers, keys, times, stopping, openness, descriptors)


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Everything that is wrong, the worst first, otherwise in the order of the checks."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return tuple(sorted(found, key=lambda finding: list(Severity).index(finding.severity)))
