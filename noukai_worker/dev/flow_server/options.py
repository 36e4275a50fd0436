"""What a flow server can be started with; the same for an application, a thread and a process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TypedDict

from .errors import FlowServerError
from .flows import SLUG, Flow


class Options(TypedDict, total=False):
    """All optional.

    ``api_keys``
        the only keys accepted, beside those named in the other options; if empty, any ``nk_`` key
    ``broke_api_keys``
        keys without credits: 402
    ``credits``
        key → balance in USD that its runs use up
    ``projects``
        key → ``org/project``, the only one where the key is good (403 elsewhere)
    ``flows``
        flows by path (`load_flows`), offered beside the samples; they replace those of the same path
    ``seed``
        makes failures by probability the same at every start
    """

    api_keys: Iterable[str]
    broke_api_keys: Iterable[str]
    credits: Mapping[str, str | Decimal]
    projects: Mapping[str, str]
    flows: Mapping[str, Flow] | None
    seed: int | None


def pairs(option: str, values: Iterable[str]) -> dict[str, str]:
    """Return the ``KEY=VALUE`` texts of a command line as a mapping; raise `FlowServerError` for anything else."""
    read: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not key or not equals or not value:
            raise FlowServerError(f"{option} {text!r}: write KEY=VALUE")
        read[key] = value
    return read


def balances(options: Options) -> dict[str, Decimal]:
    """Return the balances asked for; raise `FlowServerError` for what is no amount."""
    read = dict.fromkeys(options.get("broke_api_keys", ()), Decimal(0))
    for key, amount in options.get("credits", {}).items():
        try:
            balance = Decimal(amount)
        except InvalidOperation:
            balance = Decimal(-1)
        if not balance.is_finite() or balance < 0:
            raise FlowServerError(f"credits of {key}: {amount!r} is no amount; write a number of USD, like 0.01")
        read[key] = balance
    return read


def projects(options: Options) -> dict[str, str]:
    """Return the projects that keys are bound to; raise `FlowServerError` for what is no ``org/project``."""
    bound = dict(options.get("projects", {}))
    for key, project in bound.items():
        if not re.fullmatch(f"{SLUG}/{SLUG}", project):
            raise FlowServerError(f"project of {key}: {project!r} is no project; write org/project, like acme/demo")
    return bound
