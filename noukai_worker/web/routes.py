"""The routes, as a router that any FastAPI application can include."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from .. import client
from ..errors import RunFinished
from ..runs import RunRequest, RunView, State, operations
from ..settings import Settings, current
from .access import admit, idempotency_key
from .bodies import json_object, submission, tool_results
from .identity import Identify, identified
from .refusals import Refusal, Route
from .source import Source
from .stream import EventStream

Enqueue = Callable[..., Awaitable[client.Run]]
Cancel = Callable[..., Awaitable[State]]
Resume = Callable[..., Awaitable[client.Run]]

_LONGEST_POSITION = 15
_REASON_BYTES = 10_000
_PRIVATE = {"Cache-Control": "no-store"}


def router(
    settings: Settings | None = None,
    *,
    identify: Identify | None = None,
    open: bool = False,  # noqa: A002 - the word of the setting
    enqueue: Enqueue = client.aenqueue,
    cancel: Cancel = client.acancel,
    resume: Resume = client.aresume,
) -> APIRouter:
    """Routes to enqueue runs and to look at, follow, answer and cancel them; its connections live as long as the application.

    settings: those of `configure`, or of the environment, unless given. identify: a FastAPI dependency that returns who enqueues,
    as text; idempotency keys are then the caller's own. It may raise HTTPException to refuse. Without it, whoever reaches
    `POST /runs` may enqueue. open: reading needs no token (for development). enqueue, cancel, resume: what to call instead of
    the client's.
    """
    return build(Source(settings or current()), identify, open, enqueue, cancel, resume)


def build(
    source: Source,
    identify: Identify | None = None,
    open: bool = False,  # noqa: A002
    enqueue: Enqueue = client.aenqueue,
    cancel: Cancel = client.acancel,
    resume: Resume = client.aresume,
) -> APIRouter:
    """The router on a source; see `router`."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with source:
            yield

    it = _Endpoints(source, open, enqueue, cancel, resume)
    routes = APIRouter(route_class=Route, lifespan=lifespan, tags=["noukai"])
    routes.add_api_route(
        "/runs",
        it.enqueue_run,
        methods=["POST"],
        status_code=202,
        dependencies=[Depends(identified(identify))],
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    routes.add_api_route("/runs/{run_id}", it.show_run)
    routes.add_api_route("/runs/{run_id}/events", it.follow_run, status_code=200, response_class=EventStream)
    routes.add_api_route("/runs/{run_id}/cancel", it.cancel_run, methods=["POST"], status_code=202)
    routes.add_api_route(
        "/runs/{run_id}/tool-results",
        it.answer_run,
        methods=["POST"],
        status_code=202,
        openapi_extra={"requestBody": _TOOL_RESULTS_BODY},
    )
    routes.add_api_route("/healthz", it.healthy)
    routes.add_api_route("/readyz", it.ready)
    return routes


@dataclass(frozen=True, slots=True)
class _Endpoints:
    source: Source
    open: bool
    enqueue: Enqueue
    cancel: Cancel
    resume: Resume

    async def enqueue_run(self, request: Request) -> Response:
        """Record a run and send it to the workers. The answer holds its id, its token and where its events are."""
        fields = await submission(request, self.source.settings.max_input_bytes)
        key = idempotency_key(request, request.state.noukai_identity)
        run = await self.enqueue(**fields, idempotency_key=key)
        place = f"{request.url.path.rstrip('/')}/{run.id}"
        body = {
            "id": run.id,
            "position": run.position,
            "token": run.token,
            "status": State.QUEUED if run.new else (await self._view(run.id)).state,
            "events": f"{place}/events",
        }
        return JSONResponse(body, 202, {"Location": place, **_PRIVATE})

    async def show_run(self, run_id: str, request: Request) -> Response:
        """The run as it stands."""
        return JSONResponse((await self._admitted(run_id, request)).public(), headers=_PRIVATE)

    async def follow_run(self, run_id: str, request: Request) -> Response:
        """The run's entries after a position (`Last-Event-ID`, `?after=`), to the terminal one, as server-sent events.

        204 if the run has ended and there is nothing more.
        """
        position = _position(request)
        await self._admitted(run_id, request)
        return EventStream(self.source.hub, run_id, position)

    async def cancel_run(self, run_id: str, request: Request) -> Response:
        """End the run, whatever it is doing. A body `{"reason": "…"}` is optional; cancelling twice does nothing."""
        await self._admitted(run_id, request)
        try:
            await self.cancel(run_id, reason=await _reason(request))
        except RunFinished as error:
            if error.state != State.CANCELLED:
                raise
        return JSONResponse({"id": run_id, "status": State.CANCELLED}, 202)

    async def answer_run(self, run_id: str, request: Request) -> Response:
        """Go on with a paused run: the results of all tool calls in its `waiting_for`, once for each pause."""
        await self._admitted(run_id, request)
        results = await tool_results(request, self.source.settings.max_input_bytes)
        run = await self.resume(run_id, results)
        return JSONResponse({"id": run_id, "status": State.QUEUED, "position": run.position}, 202)

    async def healthy(self) -> dict[str, str]:
        """This process is up."""
        return {"status": "ok"}

    async def ready(self) -> dict[str, str]:
        """This process can serve: Redis answers."""
        await self.source.hub.perform(operations.recent(limit=1))
        return {"status": "ready"}

    async def _admitted(self, run_id: str, request: Request) -> RunView:
        view = await self._view(run_id)
        if not self.open:
            admit(request, view)
        return view

    async def _view(self, run_id: str) -> RunView:
        return await self.source.hub.perform(operations.show(run_id))


def _position(request: Request) -> int:
    # A browser that reconnects repeats the URL, with the position it started from; the header has the one it got to.
    for text in (
        request.headers.get("last-event-id"),
        request.query_params.get("after"),
        request.query_params.get("starting_after"),
    ):
        if text:
            if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_POSITION):
                raise Refusal(
                    400, "invalid_request", "the position is the id of the last event you have, a whole number"
                )
            return int(text)
    return 0


async def _reason(request: Request) -> str | None:
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return None
    fields = await json_object(request, _REASON_BYTES)
    reason = fields.pop("reason", None)
    if fields or not isinstance(reason, str | None):
        raise Refusal(422, "invalid_request", 'send no body, or {"reason": "text"}')
    return reason


_SCHEMA = RunRequest.model_json_schema()
_REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                **_SCHEMA,
                "properties": {
                    **_SCHEMA["properties"],
                    "delay": {"type": "number", "minimum": 0, "description": "Seconds until the run is due."},
                    "priority": {"type": "integer", "minimum": 0, "maximum": 9},
                },
            }
        }
    },
}
_TOOL_RESULT = {
    "type": "object",
    "required": ["tool_call_id", "content"],
    "properties": {
        "tool_call_id": {"type": "string", "description": "The id of the call that it answers."},
        "content": {"description": "Text; anything else is sent to the flow as JSON."},
    },
}
_TOOL_RESULTS_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["tool_results"],
                "additionalProperties": False,
                "properties": {
                    "tool_results": {
                        "description": "One for each call, or an object of contents by id.",
                        "anyOf": [{"type": "array", "items": _TOOL_RESULT}, {"type": "object"}],
                    }
                },
            }
        }
    },
}
