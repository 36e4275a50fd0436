"""The stand-alone web application: the routers, and every answer in one form."""

from __future__ import annotations

from fastapi import FastAPI

from ..settings import Settings, current
from .access import operators_with
from .operators import operator_router
from .refusals import install
from .routes import build
from .source import Source


def create_app(settings: Settings | None = None, *, open: bool = False) -> FastAPI:  # noqa: A002 - the word of the setting
    """An ASGI application of the routes alone; settings from the environment unless given.

    open: reading needs no token. Only `serve` looks at NOUKAI_WORKER_WEB_OPEN, because it knows what address it listens on.

    Nobody is asked who they are on `POST /runs`: run it on loopback or in a private network, and let your own application, which
    knows its users, include `router(identify=...)` instead. The operators' routes are there only with an `operator_token`.
    """
    source = Source(settings or current())
    app = FastAPI(title="Noukai runs", version="1")
    install(app)
    app.include_router(build(source, open=open))
    if source.settings.operator_token:
        app.include_router(operator_router(identify=operators_with(source.settings.operator_token)))
    app.state.source = source
    return app
