"""The error tree: what a reply becomes, and that nothing is lost in pickling."""

from __future__ import annotations

import copy
import inspect
import pickle
from email.utils import formatdate
from typing import Any

import pytest

import noukai_sdk
from noukai_sdk import (
    APIConnectionError,
    APIResponseError,
    APITimeoutError,
    AuthenticationError,
    Checkpoint,
    FlowExecutionError,
    FlowNotFoundError,
    InsufficientCreditsError,
    NoukaiError,
    PermissionDeniedError,
    RateLimitError,
    StreamInterruptedError,
    StreamProtocolError,
    StreamTimeoutError,
)
from noukai_sdk.testing import Exchange

ERRORS = [
    kind
    for name in noukai_sdk.__all__
    if inspect.isclass(kind := getattr(noukai_sdk, name)) and issubclass(kind, NoukaiError)
]
ATTRIBUTES: dict[str, Any] = {
    "status_code": 429,
    "code": "RATE_LIMIT",
    "execution_id": "E",
    "request_id": "R",
    "response_body": {"detail": {"code": "RATE_LIMIT"}},
    "retry_after": 1.5,
    "sent": False,
    "checkpoint": Checkpoint("E", 2, {"a": [1]}),
}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_errors_survive_copying_with_every_attribute(kind: type[NoukaiError], copied: Any) -> None:
    extra = {"www_authenticate": "Bearer"} if kind is AuthenticationError else {}
    error = copied(kind("text", **ATTRIBUTES, **extra))
    assert type(error) is kind
    assert str(error) == error.message == "text"
    assert {name: getattr(error, name) for name in ATTRIBUTES} == ATTRIBUTES
    if extra:
        assert error.www_authenticate == "Bearer"
    assert "status_code=429" in repr(error)


def test_the_tree() -> None:
    assert issubclass(APITimeoutError, APIConnectionError)
    assert issubclass(StreamInterruptedError, APIConnectionError)
    assert issubclass(StreamProtocolError, StreamInterruptedError)
    assert issubclass(StreamTimeoutError, StreamInterruptedError)
    assert issubclass(StreamTimeoutError, APITimeoutError)
    assert not issubclass(AuthenticationError, APIConnectionError)


def failure(side: Any, exchange: Exchange, path: str) -> NoukaiError:
    if path == "stream":
        error = side.play([exchange]).error
        assert isinstance(error, NoukaiError)
        return error
    with pytest.raises(NoukaiError) as caught:
        side.execute([exchange])
    return caught.value


@pytest.fixture(params=["call", "stream"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, FlowExecutionError),
        (401, AuthenticationError),
        (402, InsufficientCreditsError),
        (403, PermissionDeniedError),
        (404, FlowNotFoundError),
        (409, FlowExecutionError),
        (429, RateLimitError),
        (500, FlowExecutionError),
        (503, FlowExecutionError),
        (307, APIResponseError),
    ],
)
def test_statuses(side: Any, path: str, status: int, kind: type[NoukaiError]) -> None:
    body = {"detail": {"code": "SOME_CODE", "message": "words", "executionId": "E"}}
    headers = {"X-Request-ID": "R", "Retry-After": "7", "WWW-Authenticate": "Bearer"}
    error = failure(side, Exchange.json(body, status, headers), path)
    assert type(error) is kind
    assert (error.status_code, error.code, error.request_id, error.execution_id) == (status, "SOME_CODE", "R", "E")
    assert error.response_body == body
    assert error.sent is True
    assert error.retry_after == (7.0 if status in {429, 503} else None)
    if isinstance(error, AuthenticationError):
        assert error.www_authenticate == "Bearer"
    if kind is not APIResponseError:
        assert error.message == "words"


@pytest.mark.parametrize(
    ("body", "code", "message", "parsed"),
    [
        (b'{"detail":"text"}', None, "text", {"detail": "text"}),
        (b'{"detail":{"code":"C"}}', "C", "HTTP 400", {"detail": {"code": "C"}}),
        (b'{"detail":{"code":5,"message":6}}', None, "HTTP 400", {"detail": {"code": 5, "message": 6}}),
        (b'{"detail":[{"loc":["x"]}]}', None, "{'detail': [{'loc': ['x']}]}", {"detail": [{"loc": ["x"]}]}),
        (b"[1]", None, "[1]", [1]),
        (b"<html>", None, "HTTP 400", None),
        (b"", None, "HTTP 400", None),
    ],
)
def test_odd_error_bodies(side: Any, path: str, body: bytes, code: str | None, message: str, parsed: Any) -> None:
    error = failure(side, Exchange(400, chunks=[body]), path)
    assert (error.code, error.message, error.response_body) == (code, message, parsed)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("2.5", 2.5),
        (" 3 ", 3.0),
        (formatdate(0, usegmt=True), 0.0),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(side: Any, path: str, header: str, seconds: float | None) -> None:
    assert failure(side, Exchange.json({}, 429, {"Retry-After": header}), path).retry_after == seconds


def test_retry_after_as_a_date_ahead(side: Any, path: str) -> None:
    import time

    header = formatdate(time.time() + 120, usegmt=True)
    error = failure(side, Exchange.json({}, 503, {"Retry-After": header}), path)
    assert error.retry_after is not None
    assert 110 < error.retry_after <= 120


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"", b"[]", b'{"status":"completed"}', b'{"status":"ok","blockCount":1}', b'{"status":5,"flowId":[]}'],
)
def test_odd_results(side: Any, body: bytes) -> None:
    error = failure(side, Exchange(200, {"X-Request-ID": "R"}, [body]), "call")
    assert type(error) is APIResponseError
    assert (error.status_code, error.request_id, error.sent) == (200, "R", True)


def test_a_page_instead_of_a_stream_is_not_worth_another_try(side: Any) -> None:
    error = side.play([Exchange(200, {"Content-Type": "text/html"}, [b"<html>please log in</html>"])]).error
    assert type(error) is APIResponseError
