"""Everything that a client is used for, as functions that return what came of it."""

from . import execute, tools
from .stage import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario", "execute", "tools"]
