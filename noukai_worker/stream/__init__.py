"""The streaming path: a flow's events from the service to the run's log, for thousands of runs in one event loop."""

from .engine import Engine
from .held import HeldRun, LeaseLost
from .relay import open_stream, relay

__all__ = ["Engine", "HeldRun", "LeaseLost", "open_stream", "relay"]
