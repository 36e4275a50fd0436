"""Everything that a client is used for, as functions that return what came of it."""

from . import (
    broken_streams,
    clients,
    execute,
    jobs,
    playback,
    refusals,
    relayed,
    sending,
    sessions,
    stream_tools,
    streams,
    tools,
    traces,
)
from .stage import SCENARIOS, Scenario

__all__ = [
    "SCENARIOS",
    "Scenario",
    "broken_streams",
    "clients",
    "execute",
    "jobs",
    "playback",
    "refusals",
    "relayed",
    "sending",
    "sessions",
    "stream_tools",
    "streams",
    "tools",
    "traces",
]
