"""This room lets a generator keep its context variables to itself, which Python's do not (PEP 567; PEP 568 was deferred)."""

from __future__ import annotations

from collections.abc import Generator
from contextvars import copy_context
from typing import Any


class OwnContext(Generator[Any, Any, Any]):
    """Runs each step of `generator` in one copy of the context this object was made in."""

    def __init__(self, generator: Generator[Any, Any, Any]) -> None:
        self._context = copy_context()
        self._generator = generator

    def send(self, value: Any) -> Any:
        return self._context.run(self._generator.send, value)

    def throw(self, *error: Any) -> Any:
        return self._context.run(self._generator.throw, *error)
