"""``/_control``: what was done, orders to misbehave, gates, credits. Open without a key, but only to this machine."""

from __future__ import annotations

import ipaddress
import json

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .answers import JsonAnswer, Refusal
from .errors import FlowServerError
from .manners import Order
from .options import balances
from .service import Service

FILTERS = ("flow", "session_id", "message", "execution_id")
_ORDERS: TypeAdapter[list[Order]] = TypeAdapter(list[Order])
_BALANCES: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


class Control:
    """The control endpoints of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes, to be mounted at ``/_control``."""
        return [
            Route("/counts", self.counts, methods=["GET"]),
            Route("/counts", self.reset_counts, methods=["DELETE"]),
            Route("/manners", self.waiting, methods=["GET"]),
            Route("/manners", self.order, methods=["POST"]),
            Route("/manners", self.clear, methods=["DELETE"]),
            Route("/gates", self.gates, methods=["GET"]),
            Route("/gates/{name:path}", self.open_gate, methods=["POST"]),
            Route("/gates/{name:path}", self.close_gate, methods=["DELETE"]),
            Route("/credits", self.balances, methods=["GET"]),
            Route("/credits", self.top_up, methods=["POST"]),
            Route("/sessions/{session_id}", self.prune, methods=["DELETE"]),
            Route("/reset", self.reset, methods=["POST"]),
        ]

    async def counts(self, request: Request) -> Response:
        """Answer the ledger, narrowed by the query's ``flow``, ``session_id``, ``message`` and ``execution_id``."""
        _only_from_here(request)
        if strange := set(request.query_params) - set(FILTERS):
            raise Refusal(400, "FILTER_UNKNOWN", f"{min(strange)!r} is no filter; use {', '.join(FILTERS)}.")
        return JsonAnswer(self._service.ledger.counts(dict(request.query_params)))

    async def reset_counts(self, request: Request) -> Response:
        """Open a new ledger."""
        _only_from_here(request)
        self._service.ledger.reset()
        return JsonAnswer({"reset": True})

    async def waiting(self, request: Request) -> Response:
        """Answer the orders that wait."""
        _only_from_here(request)
        return self._queue()

    async def order(self, request: Request) -> Response:
        """Queue one order, or a list of them: all or none."""
        _only_from_here(request)
        try:
            body = json.loads(await request.body())
            orders = _ORDERS.validate_python(body if isinstance(body, list) else [body])
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"][1:])
            raise Refusal(400, "ORDER_INVALID", f"{place or 'order'}: {first['msg']}.") from None
        except (ValueError, RecursionError) as exc:
            raise Refusal(400, "ORDER_INVALID", f"The body is not JSON: {exc}.") from None
        if unknown := [order.flow for order in orders if order.flow not in (None, *self._service.flows)]:
            known = ", ".join(sorted(self._service.flows))
            raise Refusal(400, "ORDER_INVALID", f"flow: there is no {unknown[0]!r} here; there are: {known}.")
        for order in orders:
            self._service.manners.add(order)
        return self._queue()

    async def clear(self, request: Request) -> Response:
        """Forget all orders."""
        _only_from_here(request)
        return JsonAnswer({"cleared": self._service.manners.clear()})

    async def gates(self, request: Request) -> Response:
        """Answer which gates are open, and how many wait at each."""
        _only_from_here(request)
        return JsonAnswer({"gates": self._service.gates.states()})

    async def open_gate(self, request: Request) -> Response:
        """Let through all who wait at a gate, and whoever comes until it is closed again."""
        _only_from_here(request)
        return JsonAnswer({"released": self._service.gates.open(request.path_params["name"])})

    async def close_gate(self, request: Request) -> Response:
        """Close a gate again."""
        _only_from_here(request)
        self._service.gates.close(request.path_params["name"])
        return JsonAnswer({"closed": True})

    async def balances(self, request: Request) -> Response:
        """Answer what is left on each key that can run out."""
        _only_from_here(request)
        return JsonAnswer({"credits": self._service.credits.balances()})

    async def top_up(self, request: Request) -> Response:
        """Set the balance of one key, or of several: an object of amounts by key."""
        _only_from_here(request)
        try:
            amounts = balances({"credits": _BALANCES.validate_json(await request.body())})
        except (ValidationError, FlowServerError) as exc:
            problem = exc.errors(include_url=False)[0]["msg"] if isinstance(exc, ValidationError) else exc
            raise Refusal(400, "CREDITS_INVALID", f'Send an object like {{"nk_x": "0.01"}}: {problem}.') from None
        for key, amount in amounts.items():
            self._service.credits.put(key, amount)
        return JsonAnswer({"credits": self._service.credits.balances()})

    async def prune(self, request: Request) -> Response:
        """Prune a session: it is known from now on, and gone."""
        _only_from_here(request)
        session_id = request.path_params["session_id"]
        if not self._service.sessions.prune(session_id):
            raise Refusal(404, "SESSION_NOT_FOUND", f"There is no session {session_id!r} here.")
        return JsonAnswer({"pruned": session_id})

    async def reset(self, request: Request) -> Response:
        """Begin anew: no counts, the first orders and balances, all gates closed."""
        _only_from_here(request)
        self._service.start_over()
        return JsonAnswer({"reset": True})

    def _queue(self) -> Response:
        orders = [order.model_dump(exclude_defaults=True) for order in self._service.manners.waiting]
        return JsonAnswer({"waiting": [{"times": 1} | order for order in orders]})


def _only_from_here(request: Request) -> None:
    host = request.client.host if request.client else ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise Refusal(403, "FORBIDDEN", "/_control answers only to callers on the machine that the server runs on.")
