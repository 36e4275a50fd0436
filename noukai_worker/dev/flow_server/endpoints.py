"""What all endpoints do alike: count the request, know the key, be rude on order, answer (WIRE.md 2).

::

    Endpoint              an ASGI application
    ├── CallEndpoint      a flow's /execute, /step, /jobs
    └── ReadEndpoint      a poll or a trace of one run
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .answers import Refusal
from .calls import Call
from .connection import CallerGone, HangUp, hang_up, while_connected
from .flows import Flow
from .ledger import RequestEntry
from .manners import EndpointName, Manner
from .runs import Run, Trigger
from .service import Service
from .tools import Offer


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and the way to answer it."""

    request: Request
    send: Send
    entry: RequestEntry
    key: str = ""
    manner: Manner | None = None

    @property
    def receive(self) -> Receive:
        """The caller's side of the connection."""
        return self.request.receive

    async def answer(self, response: Response) -> None:
        """Send a whole response."""
        self.entry.status = response.status_code
        await response(self.request.scope, self.receive, self.send)


class Endpoint(ABC):
    """One endpoint."""

    name: ClassVar[EndpointName]

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        entry = self._service.ledger.request(self.name, flow_path(request))
        entry.session_id = request.headers.get("x-session-id") or None
        exchange = Exchange(request=request, send=send, entry=entry)
        try:
            exchange.key = self._service.keys.check(request.headers.get("authorization"))
            await self._answer(exchange)
        except Refusal as refusal:
            entry.status, entry.code = refusal.status, refusal.code
            raise
        except HangUp as order:
            await hang_up(scope, receive, reset=order.reset)
        except (CallerGone, ClientDisconnect):
            return

    @abstractmethod
    async def _answer(self, exchange: Exchange) -> None: ...

    def _flow(self, exchange: Exchange, *, draft: bool = True) -> tuple[Flow, str]:
        """Return the flow and the version in the path; raise `Refusal` 403, 404 or 400."""
        path = exchange.entry.flow or ""
        self._service.keys.check_project(exchange.key, path.rpartition("/")[0])
        return self._service.flow(path, exchange.request.path_params.get("version"), draft=draft)

    async def _be_rude(self, exchange: Exchange) -> None:
        """Take the order that is meant for this request, and carry it out as far as it comes before the work."""
        entry = exchange.entry
        manner = exchange.manner = self._service.manners.take(self.name, entry.flow, entry.message)
        if manner is None:
            return
        entry.manner = manner.kind
        if manner.delay:
            await while_connected(exchange.receive, asyncio.sleep(manner.delay))
        if manner.cut_before_work:
            raise HangUp
        if manner.status is None:
            return
        headers = {} if manner.retry_after is None else {"Retry-After": _retry_after(manner.retry_after)}
        if manner.body is not None:
            await exchange.answer(Response(manner.body, manner.status, headers, media_type="text/html"))
            raise CallerGone
        code = manner.code or {402: "CREDITS_EXHAUSTED", 429: "RATE_LIMIT"}.get(manner.status, "INTERNAL_ERROR")
        raise Refusal(manner.status, code, manner.message or f"{manner.status} by order.", headers)


class Place(NamedTuple):
    """Which flow is called, and which version of it."""

    flow: Flow
    version: str


class CallEndpoint(Endpoint):
    """An endpoint that begins or continues work."""

    trigger: ClassVar[Trigger]
    takes_draft: ClassVar[bool] = True

    async def _answer(self, exchange: Exchange) -> None:
        place = Place(*self._flow(exchange, draft=self.takes_draft))
        call = self._read(await exchange.request.body())
        run = self._recognise(exchange.entry, call)
        await self._be_rude(exchange)
        call.check()
        await self._respond(exchange, place, call, run)

    @abstractmethod
    def _read(self, body: bytes) -> Call: ...

    @abstractmethod
    async def _respond(self, exchange: Exchange, place: Place, call: Call, run: Run | None) -> None: ...

    def _recognise(self, entry: RequestEntry, call: Call) -> Run | None:
        """Return the run that ``call`` belongs to, noting whose request this is."""
        run = self._service.runs.find(call.execution_id)
        entry.execution_id = call.execution_id or None
        entry.message = run.message if run else call.input_text
        if run is not None and entry.session_id is None:
            entry.session_id = run.session_id
        return run

    def _new_run(self, exchange: Exchange, place: Place, call: Call) -> Run:
        """Begin a run for a fresh ``call``."""
        call.check_input()
        run = Run(
            flow=place.flow,
            version=place.version,
            trigger=self.trigger,
            session_id=exchange.entry.session_id,
            message=call.input_text,
            messages=call.messages,
            parameters=call.parameters,
            attachments=call.attachments,
            trace=call.trace,
            started_at=self._service.now(),
            key=exchange.key,
        )
        self._service.begin(run)
        exchange.entry.execution_id = run.execution_id
        return run

    @staticmethod
    def _offer(flow: Flow, call: Call) -> Offer:
        if call.tools and not flow.takes_tools:
            raise Refusal(400, "TOOLS_NOT_ENABLED", f"No step of {flow.path} calls tools; leave 'tools' out.")
        if call.tools and (looping := next((step for step in flow.steps if step.loop and step.tool_rounds), None)):
            raise Refusal(
                400,
                "TOOLS_IN_NON_SEQUENTIAL_STEP",
                f"Step {looping.id!r} of {flow.path} loops and cannot call tools; leave 'tools' out.",
            )
        return Offer.parse(call.tools, call.tool_choice)


class ReadEndpoint(Endpoint):
    """An endpoint that tells about one run."""

    missing: ClassVar[str] = "RUN_NOT_FOUND"

    async def _answer(self, exchange: Exchange) -> None:
        flow, _ = self._flow(exchange)
        execution_id = exchange.request.path_params["execution_id"]
        run = self._service.runs.find(execution_id)
        if run is not None and (run.flow.path != flow.path or not self._is_mine(run)):
            run = None
        entry = exchange.entry
        entry.execution_id = execution_id
        if run is not None:
            entry.message, entry.session_id = run.message, run.session_id
        await self._be_rude(exchange)
        if run is None:
            raise Refusal(404, self.missing, f"{flow.path} has nothing of this kind with the id {execution_id!r}.")
        await self._tell(exchange, run)

    def _is_mine(self, run: Run) -> bool:  # noqa: ARG002 - all runs have traces
        return True

    @abstractmethod
    async def _tell(self, exchange: Exchange, run: Run) -> None: ...


def flow_path(request: Request) -> str | None:
    """Return the flow's path, if the request's path names one."""
    place = request.path_params
    return f"{place['org']}/{place['project']}/{place['slug']}" if "org" in place else None


def _retry_after(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
