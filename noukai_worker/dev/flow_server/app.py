"""The flow server as an ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Unpack

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route

from .answers import Refusal, RequestIds, on_crash, on_http_exception, on_refusal
from .background import Background
from .cassette import Cassette
from .control import Control
from .execute import Execute
from .jobs import PollJob, SubmitJob
from .options import Options
from .service import Service
from .step import StepThrough
from .traces import LiveTrace, StepTrace, WholeTrace

#: Where the service's paths begin.
BASE_PATH = "/api/v1"
_SEQ = BASE_PATH + "/seq"
_FLOW = _SEQ + "/{org}/{project}/{slug}"
_RUN = _FLOW + "/runs/{execution_id}"


def create_app(**options: Unpack[Options]) -> Starlette:
    """Return a local Noukai; raise `FlowServerError` for options that make no sense."""
    service, background = Service.open(options), Background()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await background.stop()

    calls = {
        "execute": Execute(service, background),
        "step": StepThrough(service),
        "jobs": SubmitJob(service, background),
    }
    reads = {
        _FLOW + "/jobs/{execution_id}": PollJob(service),
        _RUN + "/trace": WholeTrace(service),
        _RUN + "/trace/stream": LiveTrace(service),
        _RUN + "/steps/{step_id}/trace": StepTrace(service),
        _SEQ + "/sessions/{session_id}": Cassette(service),
    }
    app = Starlette(
        routes=[
            *(Route(f"{_FLOW}/{name}", call, methods=["POST"]) for name, call in calls.items()),
            *(Route(path, read, methods=["GET"]) for path, read in reads.items()),
            *(Route(f"{_FLOW}/{{version}}/{name}", call, methods=["POST"]) for name, call in calls.items()),
            Mount("/_control", routes=Control(service).routes()),
        ],
        middleware=[Middleware(RequestIds)],
        exception_handlers={Refusal: on_refusal, HTTPException: on_http_exception, Exception: on_crash},
        lifespan=lifespan,
    )
    # A path with a slash too many is a mistake; the service does not send callers elsewhere.
    app.router.redirect_slashes = False
    return app
