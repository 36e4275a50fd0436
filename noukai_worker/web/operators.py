"""What operators do over HTTP: list failed runs and redrive them, which costs money; never for the public."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from ..dead_runs import Redriven, adead, aredrive, aredrive_all
from ..errors import InvalidRequest, NoukaiWorkerError
from ..runs import State
from .bodies import json_object
from .identity import Identify, identified
from .refusals import Refusal, Route, detail

logger = logging.getLogger(__name__)

_MOST = 1_000
_AT_ONCE = 100
_BODY_BYTES = 10_000
_PRIVATE = {"Cache-Control": "no-store"}


def operator_router(*, identify: Identify) -> APIRouter:
    """Routes for operators: `GET /dead`, `POST /dead/redrive`, `POST /runs/{id}/redrive`.

    identify: a FastAPI dependency that returns which operator asks, as text, and raises HTTPException for everybody else. No
    run's token opens these routes. Raises InvalidRequest without it.
    """
    if not callable(identify):
        raise InvalidRequest("identify: pass a function that tells operators from everybody else")
    routes = APIRouter(route_class=Route, tags=["noukai operators"], dependencies=[Depends(identified(identify))])
    routes.add_api_route("/dead", _list)
    routes.add_api_route(
        "/dead/redrive", _redrive_many, methods=["POST"], status_code=202, openapi_extra={"requestBody": _REQUEST_BODY}
    )
    routes.add_api_route("/runs/{run_id}/redrive", _redrive, methods=["POST"], status_code=202)
    return routes


async def _list(
    flow: str | None = None,
    code: str | None = None,
    since: str | None = None,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 50,
) -> Response:
    """The runs that failed and are kept, those that failed last first; `since`: `2h`, Unix seconds or RFC 3339."""
    views = await adead(limit, flow=flow, code=code, since=since)
    return JSONResponse({"runs": [view.public() for view in views]}, headers=_PRIVATE)


async def _redrive(run_id: str, request: Request) -> Response:
    """Try a failed run once more: the same id, the next attempt, from its checkpoint."""
    run = await aredrive(run_id)
    logger.info("run %s redriven by %r", run_id, request.state.noukai_identity)
    return JSONResponse({"id": run.id, "status": State.QUEUED, "position": run.position}, 202)


async def _redrive_many(request: Request) -> Response:
    """Redrive the runs that `GET /dead` lists for the same filters, up to `limit`; what was redriven, and what was refused."""
    fields = await json_object(request, _BODY_BYTES)
    if strange := set(fields) - {"flow", "code", "since", "limit"}:
        raise InvalidRequest(f"{min(strange)}: no such field; known are flow, code, since, limit")
    for name in ("flow", "code"):
        if not isinstance(fields.get(name), str | None):
            raise InvalidRequest(f"{name} is text")
    limit = fields.setdefault("limit", _AT_ONCE)
    if not isinstance(limit, int) or not 1 <= limit <= _MOST:
        raise InvalidRequest(f"limit is a whole number from 1 to {_MOST:,}")
    outcomes = await aredrive_all(**fields)
    body: dict[str, list[Any]] = {
        "redriven": [one.run_id for one in outcomes if one.error is None],
        "refused": [{"id": one.run_id, **_why(one)} for one in outcomes if one.error is not None],
    }
    logger.info("%d runs redriven by %r", len(body["redriven"]), request.state.noukai_identity)
    return JSONResponse(body, 202)


def _why(refused: Redriven) -> dict[str, str]:
    if isinstance(refused.error, NoukaiWorkerError):
        return detail(refused.error)
    return detail(Refusal(500, "internal_error", "something is wrong with this run; it has been logged"))


_REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "flow": {"type": "string", "description": "org/project/slug"},
                    "code": {"type": "string", "description": "What they failed with."},
                    "since": {"type": ["string", "number"], "description": "2h, Unix seconds or RFC 3339."},
                    "limit": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": _AT_ONCE},
                },
            }
        }
    },
}
