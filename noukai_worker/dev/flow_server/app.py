"""The flow server as an ASGI application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from .answers import Refusal, RequestIds, on_crash, on_http_exception, on_refusal
from .auth import Keys
from .control import Control
from .execute import Execute
from .flows import Flow
from .samples import SAMPLES
from .service import Service
from .step import StepThrough

#: Where the service's paths begin.
BASE_PATH = "/api/v1"
_FLOW = BASE_PATH + "/seq/{org}/{project}/{slug}"


def create_app(
    *,
    api_keys: Iterable[str] = (),
    broke_api_keys: Iterable[str] = (),
    flows: Mapping[str, Flow] | None = None,
) -> Starlette:
    """Return a local Noukai.

    ``api_keys`` are the only keys accepted (any ``nk_`` key if empty); ``broke_api_keys`` get 402. ``flows`` by path
    (`load_flows`) are offered beside the samples and replace those of the same path.
    """
    offered = {**SAMPLES, **(flows or {})}
    service = Service.open(Keys(api_keys, broke_api_keys), offered.values())
    execute, step = Execute(service), StepThrough(service)
    return Starlette(
        routes=[
            Route(_FLOW + "/execute", execute, methods=["POST"]),
            Route(_FLOW + "/step", step, methods=["POST"]),
            Route(_FLOW + "/{version}/execute", execute, methods=["POST"]),
            Route(_FLOW + "/{version}/step", step, methods=["POST"]),
            Mount("/_control", routes=Control(service).routes()),
        ],
        middleware=[Middleware(RequestIds)],
        exception_handlers={Refusal: on_refusal, HTTPException: on_http_exception, Exception: on_crash},
    )
