"""This room puts every request to a Flask application into a replay scope (WIRE.md 6.9).

    init_noukai_trace(app, client=Noukai())

A request's calls are recorded as one session, whose id is in the response's `x-noukai-session`. With a session id in the
request's `X-Noukai-Replay`, and NOUKAI_REPLAY_ENABLED=1, they are played back. The scope lasts as long as the response: what a
generator streams is in it, with or without `stream_with_context`. Recorded runs that no call asked for are logged, as the
response is out by then.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from noukai_sdk._client import Noukai
from noukai_sdk._errors import ReplayError
from noukai_sdk._own_context import OwnContext
from noukai_sdk._replay import replay_scope_sync
from noukai_sdk.adapters._answers import REPLAY_HEADER, SESSION_HEADER, answer, log_leftovers

if TYPE_CHECKING:
    import flask

StartResponse = Callable[..., Any]
WSGIApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def init_noukai_trace(app: flask.Flask, *, client: Noukai) -> None:
    """Wraps `app.wsgi_app`, and answers the ReplayErrors of views. Raises TypeError if `client` is no Noukai."""
    if not isinstance(client, Noukai):
        raise TypeError(f"client must be a Noukai, not {type(client).__name__}")
    app.wsgi_app = _Traced(app.wsgi_app, client)  # type: ignore[method-assign]
    app.register_error_handler(ReplayError, _flask_answer)


class _Traced:
    def __init__(self, app: WSGIApp, client: Noukai) -> None:
        self._app = app
        self._client = client

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        # The server takes the pieces of the body, each time in its own context; the scope must be around them all.
        return OwnContext(self._respond(environ, start_response))

    def _respond(self, environ: dict[str, Any], start_response: StartResponse) -> Generator[bytes, None, None]:
        asked = environ.get("HTTP_" + REPLAY_HEADER.upper().replace("-", "_"))
        started = finished = False
        try:
            with replay_scope_sync(replay_session_id=asked, transport=self._client) as trace:

                def start_with_session(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
                    nonlocal started
                    started = True
                    return start_response(status, [*headers, (SESSION_HEADER, trace.session_id or "")], *exc_info)

                body = self._app(environ, start_with_session)
                try:
                    for piece in body:  # noqa: UP028 -- `yield from` would close the body too, and so twice
                        yield piece
                finally:
                    if hasattr(body, "close"):
                        body.close()
                finished = True
        except ReplayError as error:
            if finished:
                log_leftovers(error)
            elif started:
                # A response that was cut off must look cut off.
                raise
            else:
                status, text = answer(error)
                start_response(f"{status} {HTTPStatus(status).phrase}", _headers(text))
                yield text


def _flask_answer(error: ReplayError) -> tuple[bytes, int, list[tuple[str, str]]]:
    status, text = answer(error)
    return text, status, _headers(text)


def _headers(text: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), ("Content-Length", str(len(text)))]
