"""Gates: a step waits at one until a test opens it, so that nobody has to guess how long something takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class Gate:
    """One gate; closed at first."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.waiting = 0

    @contextlib.contextmanager
    def queue(self) -> Iterator[asyncio.Event]:
        """Count whoever waits inside the block for the event that is given."""
        self.waiting += 1
        try:
            yield self.opened
        finally:
            self.waiting -= 1


class Gates:
    """All gates by name; one exists as soon as somebody names it."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}

    def named(self, name: str) -> Gate:
        """Return the gate."""
        return self._gates.setdefault(name, Gate())

    def open(self, name: str) -> int:
        """Let through all who wait, and whoever comes later; return how many waited."""
        gate = self.named(name)
        gate.opened.set()
        return gate.waiting

    def close(self, name: str) -> None:
        """Stop those who come from now on."""
        self.named(name).opened.clear()

    def close_all(self) -> None:
        """Stop all who come from now on; forget the gates where nobody waits."""
        self._gates = {name: gate for name, gate in self._gates.items() if gate.waiting}
        for gate in self._gates.values():
            gate.opened.clear()

    def states(self) -> dict[str, dict[str, object]]:
        """Return each gate's state: ``open``, and how many are ``waiting``."""
        return {name: {"open": gate.opened.is_set(), "waiting": gate.waiting} for name, gate in self._gates.items()}
