"""``/_control``: what was done, and orders to misbehave. Open without a key, but only to this machine."""

from __future__ import annotations

import ipaddress
import json

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .answers import JsonAnswer, Refusal
from .manners import Order
from .service import Service

FILTERS = ("flow", "session_id", "message", "execution_id")
_ORDERS: TypeAdapter[list[Order]] = TypeAdapter(list[Order])


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
