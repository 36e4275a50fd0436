"""What a mistake looks like over HTTP: a status and `{"detail": {"code", "message"}}`, everywhere the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from .. import errors
from ..errors import NoukaiWorkerError, StoreUnavailable

logger = logging.getLogger(__name__)

_STATUSES: tuple[tuple[type[NoukaiWorkerError], int], ...] = (
    (errors.PayloadTooLarge, 413),
    (errors.PositionAhead, 400),
    (errors.InvalidRequest, 422),
    (errors.RunExpired, 410),
    (errors.RunNotFound, 404),
    (errors.EntriesTrimmed, 410),
    (errors.IdempotencyConflict, 409),
    (errors.RunFinished, 409),
    (errors.RunNotPaused, 409),
    (errors.RunNotFailed, 409),
    (errors.TokenRejected, 403),
    (errors.StoreUnavailable, 503),
)
"""The first that fits."""


class Refusal(Exception):
    """A mistake that only exists over HTTP."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, code, message, headers)
        self.status, self.code, self.message, self.headers = status, code, message, headers


def detail(error: NoukaiWorkerError | Refusal) -> dict[str, str]:
    """Code and message as they may be shown. Where Redis is is no business of the public's."""
    if isinstance(error, StoreUnavailable):
        return {"code": error.code, "message": "runs cannot be reached at the moment: try again in a few seconds"}
    return {"code": error.code, "message": error.message if isinstance(error, Refusal) else str(error)}


def response(error: NoukaiWorkerError | Refusal) -> JSONResponse:
    """The answer to a mistake."""
    if isinstance(error, Refusal):
        return JSONResponse({"detail": detail(error)}, error.status, error.headers)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    if status >= 500:
        logger.warning("%s", error)
    return JSONResponse({"detail": detail(error)}, status, {"Retry-After": "2"} if status == 503 else None)


class Route(APIRoute):
    """A route that answers mistakes in our form, in whatever application it is mounted."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Any]]:
        """FastAPI's hook around an endpoint."""
        endpoint = super().get_route_handler()

        async def answer(request: Request) -> Any:
            try:
                return await endpoint(request)
            except (NoukaiWorkerError, Refusal) as error:
                return response(error)
            except RequestValidationError as error:
                return response(_invalid(error))

        return answer


def install(app: FastAPI) -> None:
    """Make a whole application answer in our form: unknown paths, wrong methods, and what nobody expected."""

    async def plain(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        said: Any = error.detail
        if isinstance(said, dict) and "code" in said:
            return JSONResponse({"detail": said}, error.status_code, error.headers)
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return response(Refusal(error.status_code, code, str(said), error.headers))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return response(_invalid(error))

    async def unexpected(_: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - the server logs it
        return response(Refusal(500, "internal_error", "something went wrong here; it has been logged"))

    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def _invalid(error: RequestValidationError) -> Refusal:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return Refusal(422, "invalid_request", f"{place}: {first['msg']}")
