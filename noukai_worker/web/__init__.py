"""Runs over HTTP: enqueue, follow as server-sent events, answer, cancel; as routers for your application, or an app of its own."""

from .app import create_app
from .operators import operator_router
from .routes import router
from .server import serve

__all__ = ["create_app", "operator_router", "router", "serve"]
