from __future__ import annotations

import inspect
import json

import pytest

from noukai_worker import errors
from noukai_worker.errors import NoukaiWorkerError
from noukai_worker.web.refusals import Refusal, response

_ARGUMENTS = {"list[str | None]": ["r", None], str: "word", int: 3, "str": "word", "int": 3}


def made(kind: type[NoukaiWorkerError]) -> NoukaiWorkerError:
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return kind(*(_ARGUMENTS[p.annotation] for p in named)) if named else kind("what is wrong")


KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, NoukaiWorkerError) and kind.__module__ == errors.__name__
]

EXPECTED = {
    "InvalidRequest": 422,
    "PayloadTooLarge": 413,
    "PositionAhead": 400,
    "RunNotFound": 404,
    "RunExpired": 410,
    "EntriesTrimmed": 410,
    "IdempotencyConflict": 409,
    "RunFinished": 409,
    "RunNotFailed": 409,
    "RunNotPaused": 409,
    "TokenRejected": 403,
    "StoreUnavailable": 503,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_status_and_one_form(kind: type[NoukaiWorkerError]) -> None:
    error = made(kind)
    answer = response(error)
    assert answer.status_code == EXPECTED.get(kind.__name__, 500)
    detail = json.loads(answer.body)
    assert detail["detail"]["code"] == error.code
    assert detail["detail"]["message"]


def test_where_redis_is_is_not_told() -> None:
    answer = response(errors.StoreUnavailable("redis://10.0.0.3:6379/0", "refused"))
    assert b"10.0.0.3" not in answer.body
    assert answer.headers["retry-after"] == "2"


def test_a_refusal_keeps_its_headers() -> None:
    answer = response(Refusal(401, "token_required", "who?", {"WWW-Authenticate": "Bearer"}))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
