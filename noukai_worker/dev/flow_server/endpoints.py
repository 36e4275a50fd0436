"""``/execute`` and ``/step``: reading the call, finding its run, answering (WIRE.md 3, 4)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .answers import Refusal
from .calls import Call
from .connection import CallerGone, HangUp, hang_up, while_connected
from .flows import Flow
from .ledger import RequestEntry
from .manners import Endpoint, Manner
from .runs import Run
from .service import Service
from .tools import Offer


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and the way to answer it."""

    scope: Scope
    receive: Receive
    send: Send
    flow: Flow
    version: str
    entry: RequestEntry
    manner: Manner | None

    async def answer(self, response: Response) -> None:
        """Send a whole response."""
        self.entry.status = response.status_code
        await response(self.scope, self.receive, self.send)


class FlowEndpoint(ABC):
    """What the endpoints of a flow share; an ASGI application."""

    name: ClassVar[Endpoint]
    takes_draft: ClassVar[bool]

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        place = request.path_params
        path = f"{place['org']}/{place['project']}/{place['slug']}"
        entry = self._service.ledger.request(self.name, path)
        entry.session_id = request.headers.get("x-session-id")
        try:
            self._service.keys.check(request.headers.get("authorization"))
            flow, version = self._service.flow(path, place.get("version"), draft=self.takes_draft)
            call = self._read(await request.body())
            run = self._recognise(entry, call)
            manner = self._service.manners.take(self.name, path, entry.message)
            entry.manner = manner.kind if manner else None
            exchange = Exchange(
                scope=scope, receive=receive, send=send, flow=flow, version=version, entry=entry, manner=manner
            )
            await self._be_rude(exchange)
            call.check()
            await self._respond(exchange, call, run)
        except Refusal as refusal:
            entry.status, entry.code = refusal.status, refusal.code
            raise
        except HangUp as order:
            await hang_up(scope, receive, reset=order.reset)
        except (CallerGone, ClientDisconnect):
            return

    @abstractmethod
    def _read(self, body: bytes) -> Call: ...

    @abstractmethod
    async def _respond(self, exchange: Exchange, call: Call, run: Run | None) -> None: ...

    def _recognise(self, entry: RequestEntry, call: Call) -> Run | None:
        """Return the run that ``call`` belongs to, noting whose request this is."""
        run = self._service.runs.find(call.execution_id)
        entry.execution_id = call.execution_id or None
        entry.message = run.message if run else call.input_text
        if run is not None and entry.session_id is None:
            entry.session_id = run.session_id
        return run

    async def _be_rude(self, exchange: Exchange) -> None:
        manner = exchange.manner
        if manner is None:
            return
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

    def _new_run(self, exchange: Exchange, call: Call) -> Run:
        """Begin a run for a fresh ``call``."""
        call.check_input()
        run = Run(
            flow=exchange.flow,
            version=exchange.version,
            trigger=self.name,
            session_id=exchange.entry.session_id,
            message=call.input_text,
            messages=call.messages,
            parameters=call.parameters,
            attachments=call.attachments,
            trace=call.trace,
            started_at=self._service.now(),
        )
        self._service.runs.add(run)
        self._service.ledger.execution(run)
        exchange.entry.execution_id = run.execution_id
        return run

    @staticmethod
    def _offer(exchange: Exchange, call: Call) -> Offer:
        if call.tools and not exchange.flow.takes_tools:
            raise Refusal(400, "TOOLS_NOT_ENABLED", f"No step of {exchange.flow.path} calls tools; leave 'tools' out.")
        return Offer.parse(call.tools, call.tool_choice)


def _retry_after(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
