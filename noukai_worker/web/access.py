"""Who may read a run: whoever has its token; who is an operator; and whose idempotency key is whose."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable

from fastapi import Request
from pydantic import SecretStr

from ..errors import TokenRejected
from ..runs import RunView
from .refusals import Refusal

_LONGEST_KEY = 255


def admit(request: Request, view: RunView) -> None:
    """Let pass who sends the run's token in any of the places; others may belong to the application around us.

    Raises Refusal (401) without a token, TokenRejected (403) for a foreign one.
    """
    tokens = [token for token in _tokens(request) if token]
    if not tokens:
        raise Refusal(
            401,
            "token_required",
            "reading a run needs its token: Authorization: Bearer, X-Noukai-Token, the cookie noukai_token or ?token=",
            {"WWW-Authenticate": "Bearer"},
        )
    expected = view.token.encode()
    matches = [hmac.compare_digest(token.encode(), expected) for token in tokens]
    if not any(matches):
        raise TokenRejected(view.id)


def operators_with(token: SecretStr) -> Callable[[Request], str]:
    """An `identify` for operators who share one token, sent as Authorization: Bearer and nowhere else.

    Not in a cookie, which a browser would send for any page, nor in the URL, which is logged.
    """

    def identify(request: Request) -> str:
        given = _bearer(request)
        if not given:
            text = "this is for operators: send their token, Authorization: Bearer"
            raise Refusal(401, "operator_token_required", text, {"WWW-Authenticate": "Bearer"})
        if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
            raise Refusal(403, "operator_token_rejected", "this is not the token of NOUKAI_WORKER_OPERATOR_TOKEN")
        return "operator"

    return identify


def idempotency_key(request: Request, identity: str) -> str | None:
    """The caller's Idempotency-Key, made unambiguous across callers. Raises Refusal."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= _LONGEST_KEY:
        raise Refusal(400, "invalid_request", f"Idempotency-Key has 1 to {_LONGEST_KEY} characters")
    # The length before it keeps ("a:b", "c") and ("a", "b:c") apart; the digest keeps any identity within the key's limit.
    scoped = f"{len(identity)}:{identity}:{key}".encode()
    return f"http:{hashlib.sha256(scoped).hexdigest()}"


def _tokens(request: Request) -> Iterable[str]:
    yield _bearer(request)
    yield request.headers.get("x-noukai-token", "")
    yield request.cookies.get("noukai_token", "")
    yield request.query_params.get("token", "")


def _bearer(request: Request) -> str:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""
