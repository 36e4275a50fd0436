"""Typed usage of enqueuing, checked by mypy (never run); see usage.py."""

from __future__ import annotations

from typing import assert_type

from noukai_worker import Run, aenqueue, aenqueue_many, enqueue, enqueue_many


def one_by_one() -> None:
    assert_type(enqueue("acme/demo/x", message="x"), Run)
    assert_type(enqueue_many([{"message": "x"}], flow="acme/demo/x"), list[Run])
    enqueue_many(["acme/demo/x"])  # type: ignore[list-item]


async def for_event_loops() -> None:
    assert_type(await aenqueue("acme/demo/x"), Run)
    assert_type(await aenqueue_many(({"flow": "acme/demo/x"} for _ in range(3)), message="x"), list[Run])
