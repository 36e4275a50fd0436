"""On a cluster: keeps what all runs share in step with the runs, which live in other slots. The one place that knows of it; no I/O.

One script cannot touch a run and the set of deadlines there. So each operation is up to three calls, one after another:

1. `foretell`: an entry in the deadlines that is no later than the one to come, before the run can be anything new;
2. the run's own script; its answer carries what the run has become;
3. `settle`: the exact deadline, or none, unless somebody else has foretold meanwhile.

Whoever dies in between leaves an entry that is too early. A sweeper then sees that the run disagrees, and settles it: too early
costs one look, and there is no run without an entry (law 5). A lease that is only kept has its entry: it needs no first call.
If two act on one run in the same moment, and one of them dies between 2 and 3, its entry may be the other's: a later one.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import replace
from typing import Any, NamedTuple

from . import keys
from .operations.operation import Argument, Everywhere, Operation
from .scripts import Script, load

logger = logging.getLogger(__name__)


class Call(NamedTuple):
    """One call of a script whose keys are all in one slot."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...]


def only(operation: Operation[Any]) -> Call:
    """How to carry out an operation on a single server: in one act."""
    behind = operation.then
    if behind is None:
        return Call(load(operation.script), operation.keys, operation.args)
    sizes = len(operation.keys), len(operation.args)
    keys, args = operation.keys + behind.keys, (*sizes, *operation.args, *behind.args)
    return Call(load(operation.script, then=behind.script), keys, args)


Steps = Generator[list[Call], list[Any], Any]
"""Yields calls to make, is sent their answers (an exception where there is none), returns what the operation decodes."""


def steps(operation: Operation[Any]) -> Steps:
    """How to carry out an operation on a cluster."""
    if operation.then:
        return (yield from _one_by_one(operation, operation.then))
    if operation.everywhere:
        return (yield from _ask_everywhere(operation, operation.everywhere))
    own = tuple(key for key in operation.keys if not keys.shared(key))
    if own == operation.keys:
        (answer,) = yield [only(operation)]
        return answer
    if not operation.run_id:
        raise TypeError(f"{operation.script} touches what all runs share, and does not say for which run")
    shard = keys.shard(operation.run_id)
    if not own:
        parts = tuple(keys.sharded(key, shard) for key in operation.keys)
        (answer,) = yield [Call(load(operation.script), parts, operation.args)]
        return answer
    return (yield from _mirror(operation, own, shard))


def _one_by_one(first: Operation[Any], second: Operation[Any]) -> Steps:
    answer = yield from steps(replace(first, then=None))
    if isinstance(answer, Exception):
        return answer
    if answer[0] not in (1, b"ok"):
        return [answer]
    behind = yield from steps(second)
    return behind if isinstance(behind, Exception) else [answer, behind]


def _mirror(operation: Operation[Any], own: tuple[str, ...], shard: int) -> Steps:
    deadlines, dead, index = (keys.sharded(key, shard) for key in (keys.DEADLINES, keys.DEAD, keys.INDEX))
    foretold: Any = b""
    if operation.ahead is not None:
        (foretold,) = yield [Call(load("foretell"), (deadlines,), (operation.run_id, operation.ahead))]
        if isinstance(foretold, Exception):
            return foretold
    (told,) = yield [Call(load(operation.script, mirrored=True), own, operation.args)]
    if isinstance(told, Exception):
        return told
    answer, before, deadline, ttl, failed = told
    if operation.ahead is None and before == deadline:
        return answer
    became = (operation.run_id, foretold, deadline, ttl, failed, int(operation.script == "create"))
    (settled,) = yield [Call(load("settle"), (deadlines, dead, index), became)]
    if isinstance(settled, Exception):  # what was to be done is done; a sweeper will settle it
        logger.info("run %s is settled by a sweeper (%s)", operation.run_id, settled)
    return answer


def _ask_everywhere(operation: Operation[Any], how: Everywhere) -> Steps:
    script = load(operation.script)
    answers = yield [
        Call(script, tuple(keys.sharded(key, shard) for key in operation.keys), how.args)
        for shard in range(keys.SHARDS)
    ]
    reached = [answer for answer in answers if not isinstance(answer, Exception)]
    missing = [answer for answer in answers if isinstance(answer, Exception)]
    if missing and (not how.partial or not reached):
        return missing[0]
    if missing:
        logger.warning(
            "%d of %d parts of the cluster's deadlines cannot be read (%s)", len(missing), keys.SHARDS, missing[0]
        )
    return how.merge(reached)
