"""Who asks: what an application's `identify` says, or a refusal."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from .refusals import Refusal

Identify = Callable[..., Any]
"""A FastAPI dependency that returns who asks, as text; it may raise HTTPException to refuse."""


def identified(identify: Identify | None) -> Callable[..., Awaitable[None]]:
    """A dependency that lets pass whom `identify` knows, and notes who it is; without `identify` everybody passes."""

    async def note(request: Request, identity: Annotated[Any, Depends(identify or _anybody)]) -> None:
        if not isinstance(identity, str) or (identify and not identity):
            raise Refusal(401, "identity_required", "it is not known who asks: sign in first")
        request.state.noukai_identity = identity

    return note


async def _anybody() -> str:
    return ""
