"""Errors survive pickle and Celery's JSON, name a remedy, and belong to one tree."""

from __future__ import annotations

import inspect
import pickle

import pytest
from celery import Celery

from noukai_worker import errors

EXAMPLES = [
    errors.InvalidRequest("text"),
    errors.PayloadTooLarge(5, 4),
    errors.PositionAhead("r", 9, 3),
    errors.RunNotFound("r"),
    errors.RunExpired("r"),
    errors.EntriesTrimmed("r", 3, 9),
    errors.EntryUnreadable("garbage"),
    errors.IdempotencyConflict("r"),
    errors.EnqueuedInPart(["r", None], [None, "no Redis"]),
    errors.RunFinished("r", "failed"),
    errors.RunNotPaused("r", "queued"),
    errors.RunNotFailed("r", "running"),
    errors.TokenRejected("r"),
    errors.StoreUnavailable("redis://h:1", "refused"),
    errors.CredentialMissing("acme"),
    errors.ToolFailed("no such city"),
    errors.RunFailed("r", "X", "why", 2),
    errors.RunCancelled("r"),
]


def test_every_error_has_an_example() -> None:
    defined = {value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__}
    assert defined - {type(example) for example in EXAMPLES} == {errors.NoukaiWorkerError, errors.RunEnded}
    assert all(issubclass(kind, errors.NoukaiWorkerError) for kind in defined)
    assert len({kind.code for kind in defined}) >= len(defined) - 2


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickle_and_celerys_json(error: errors.NoukaiWorkerError) -> None:
    copies = [pickle.loads(pickle.dumps(error))]
    backend = Celery(set_as_current=False, backend="cache+memory://").backend
    stored = backend.decode(backend.encode(backend.prepare_exception(error, "json")))
    copies.append(backend.exception_to_python(stored))
    for copy in copies:
        assert type(copy) is type(error)
        assert (copy.args, str(copy), vars(copy)) == (error.args, str(error), vars(error))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_one_line(error: errors.NoukaiWorkerError) -> None:
    assert "\n" not in str(error)
    assert str(error)
