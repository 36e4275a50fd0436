"""Looks at an installation, and says what breaks a promise or costs more than it has to, each with its remedy.

Facts are gathered in one place and judged in another, by pure functions. Nothing is changed, and no secret is shown.
"""

from __future__ import annotations

from celery import Celery

from ..settings import Settings
from . import gathering
from .checks import judge
from .finding import Finding, Severity

__all__ = ["Finding", "Severity", "examine"]


def examine(app: Celery, settings: Settings) -> tuple[Finding, ...]:
    """What is wrong with a process' settings, its app, its servers and the live workers; the worst first. Takes seconds."""
    return judge(gathering.everything(app, settings))
