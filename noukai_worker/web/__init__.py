"""Runs over HTTP: enqueue, look, follow as server-sent events, cancel; as a router for your application or an app of its own."""

from .app import create_app
from .routes import router
from .server import serve

__all__ = ["create_app", "router", "serve"]
