"""What the service refuses, as errors (WIRE.md 2.1 to 2.3, 6.6)."""

from __future__ import annotations

from typing import Any

from noukai_sdk import (
    AuthenticationError,
    FlowExecutionError,
    FlowNotFoundError,
    InsufficientCreditsError,
    NoukaiError,
    PermissionDeniedError,
    RateLimitError,
)

from .stage import BROKE_KEY, OTHER_KEY, Side, asked, caught, done, items, order, refused, scenario

ECHO = "acme/compat/echo"


async def met(call: Any) -> Any:
    """The error as it is, with its text and the body that came."""
    try:
        await done(call())
    except NoukaiError as error:
        return refused(error) | {"body": error.response_body}


@scenario(
    [
        {
            "caught": "AuthenticationError",
            "status_code": 401,
            "code": "UNAUTHENTICATED",
            "request_id": "<id 1>",
            "www_authenticate": 'Bearer realm="noukai"',
        },
        {
            "caught": "AuthenticationError",
            "status_code": 401,
            "code": "UNAUTHENTICATED",
            "request_id": "<id 2>",
            "www_authenticate": 'Bearer realm="noukai"',
        },
        {
            "caught": "AuthenticationError",
            "status_code": 401,
            "code": "UNAUTHENTICATED",
            "request_id": "<id 3>",
            "www_authenticate": 'Bearer realm="noukai"',
        },
        {
            "caught": "AuthenticationError",
            "status_code": 401,
            "code": "UNAUTHENTICATED",
            "request_id": "<id 4>",
            "www_authenticate": 'Bearer realm="noukai"',
        },
    ]
)
async def a_key_that_is_unknown(side: Side) -> Any:
    flow = side.client("nk_unknown").flow(ECHO)
    stream = flow.steps("x")
    return [
        await caught(AuthenticationError, lambda: flow.execute("x")),
        await caught(AuthenticationError, lambda: flow.execute_async("x")),
        await caught(AuthenticationError, lambda: items(stream)),
        await caught(AuthenticationError, lambda: flow.run("00000000-0000-4000-8000-000000000000").trace()),
    ]


@scenario(
    [
        {
            "caught": "InsufficientCreditsError",
            "status_code": 402,
            "code": "INSUFFICIENT_CREDITS",
            "request_id": "<id 1>",
        },
        {
            "caught": "InsufficientCreditsError",
            "status_code": 402,
            "code": "INSUFFICIENT_CREDITS",
            "request_id": "<id 2>",
        },
    ]
)
async def a_key_without_credits(side: Side) -> Any:
    flow = side.client(BROKE_KEY).flow(ECHO)
    stream = flow.events("x")
    return [
        await caught(InsufficientCreditsError, lambda: flow.execute("x")),
        await caught(InsufficientCreditsError, lambda: items(stream)),
    ]


@scenario(
    [
        {"caught": "PermissionDeniedError", "status_code": 403, "code": "FORBIDDEN", "request_id": "<id 1>"},
        {"caught": "PermissionDeniedError", "status_code": 403, "code": "FORBIDDEN", "request_id": "<id 2>"},
        "Hello, x!",
    ]
)
async def a_key_of_another_project(side: Side) -> Any:
    client = side.client(OTHER_KEY)
    stream = client.flow(ECHO).steps("x")
    return [
        await caught(PermissionDeniedError, lambda: client.flow(ECHO).execute("x")),
        await caught(PermissionDeniedError, lambda: items(stream)),
        (await done(client.flow("acme/demo/hello-world").execute("x"))).output,
    ]


@scenario(
    [
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "FLOW_NOT_FOUND", "request_id": "<id 1>"},
        {"caught": "FlowNotFoundError", "status_code": 404, "code": "FLOW_NOT_FOUND", "request_id": "<id 2>"},
        {"caught": "NoukaiError", "status_code": 404, "code": "FLOW_NOT_FOUND", "request_id": "<id 3>"},
    ]
)
async def a_flow_that_is_unknown(side: Side) -> Any:
    flow = side.flow("acme/compat/none")
    return [
        await caught(FlowNotFoundError, lambda: flow.execute("x")),
        await caught(FlowNotFoundError, lambda: flow.execute_async("x")),
        await caught(NoukaiError, lambda: flow.execute("x")),
    ]


@scenario(
    [
        [
            {
                "caught": "FlowExecutionError",
                "message": "told 400",
                "status_code": 400,
                "code": "INVALID_TREE",
                "request_id": "<id 1>",
                "body": {"detail": {"code": "INVALID_TREE", "message": "told 400"}},
            },
            {
                "caught": "FlowExecutionError",
                "message": "told 409",
                "status_code": 409,
                "code": "STALE_TREE",
                "request_id": "<id 2>",
                "body": {"detail": {"code": "STALE_TREE", "message": "told 409"}},
            },
            {
                "caught": "FlowExecutionError",
                "message": "told 410",
                "status_code": 410,
                "code": "GONE",
                "request_id": "<id 3>",
                "body": {"detail": {"code": "GONE", "message": "told 410"}},
            },
            {
                "caught": "FlowExecutionError",
                "message": "told 422",
                "status_code": 422,
                "code": "NO_STEPS",
                "request_id": "<id 4>",
                "body": {"detail": {"code": "NO_STEPS", "message": "told 422"}},
            },
            {
                "caught": "FlowExecutionError",
                "message": "told 502",
                "status_code": 502,
                "code": "BYOK_KEY_REJECTED",
                "request_id": "<id 5>",
                "body": {"detail": {"code": "BYOK_KEY_REJECTED", "message": "told 502"}},
            },
        ],
        5,
    ]
)
async def every_other_status(side: Side) -> Any:
    """Code and message are the service's; the class is FlowExecutionError."""
    flow, seen = side.flow(ECHO, max_retries=0), []
    for status, code in (
        (400, "INVALID_TREE"),
        (409, "STALE_TREE"),
        (410, "GONE"),
        (422, "NO_STEPS"),
        (502, "BYOK_KEY_REJECTED"),
    ):
        order(endpoint="execute", status=status, code=code, message=f"told {status}")
        seen.append(await met(lambda: flow.execute("x")))
    return [seen, len(asked())]


@scenario([[408, 500, 502, 503, 504], 5])
async def failures_of_the_server_are_met_once(side: Side) -> Any:
    """A call that may have been paid for is not sent again, however many retries there may be."""
    flow, seen = side.flow(ECHO, max_retries=2), []
    for status in (408, 500, 502, 503, 504):
        order(endpoint="execute", status=status)
        seen.append(await caught(FlowExecutionError, lambda: flow.execute("x")))
    return [[one["status_code"] for one in seen], len(asked())]


@scenario(
    {
        "caught": "RateLimitError",
        "message": "429 by order.",
        "status_code": 429,
        "code": "RATE_LIMIT",
        "request_id": "<id 1>",
        "retry_after": 2.5,
        "body": {"detail": {"code": "RATE_LIMIT", "message": "429 by order."}},
    }
)
async def throttled(side: Side) -> Any:
    order(endpoint="execute", status=429, retry_after=2.5)
    flow = side.flow(ECHO, max_retries=0)
    return await met(lambda: flow.execute("x"))


@scenario(None)
async def throttled_until_a_date(side: Side) -> Any:
    """Long ago, so that there is nothing to wait for."""
    order(endpoint="execute", status=429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    flow = side.flow(ECHO, max_retries=0)
    try:
        await done(flow.execute("x"))
    except RateLimitError as error:
        return error.retry_after


@scenario([503, None, None, True])
async def a_page_instead_of_an_error(side: Side) -> Any:
    order(endpoint="execute", status=503, body="<h1>Back soon</h1>")
    flow = side.flow(ECHO, max_retries=0)
    try:
        await done(flow.execute("x"))
    except FlowExecutionError as error:
        return [error.status_code, error.code, error.response_body, bool(error.request_id)]


@scenario({"escaped": "pydantic_core.ValidationError"})
async def a_page_instead_of_a_result(side: Side) -> Any:
    order(endpoint="execute", status=200, body="<h1>Welcome</h1>")
    flow = side.flow(ECHO)
    return await caught(NoukaiError, lambda: flow.execute("x"))


@scenario({"escaped": "pydantic_core.ValidationError"})
async def another_object_instead_of_a_result(side: Side) -> Any:
    order(endpoint="execute", status=200, body='{"status": "completed"}')
    flow = side.flow(ECHO)
    return await caught(NoukaiError, lambda: flow.execute("x"))


@scenario({"caught": "FlowExecutionError", "status_code": 307, "request_id": "<id 1>", "asked": 1})
async def a_redirect(side: Side) -> Any:
    order(endpoint="execute", status=307, body='{"x": 1}')
    flow = side.flow(ECHO)
    return await caught(FlowExecutionError, lambda: flow.execute("x")) | {"asked": len(asked())}


@scenario({"caught": "NoukaiError", "asked": 1})
async def a_connection_that_is_cut(side: Side) -> Any:
    """Nobody knows what became of it, so it is not sent again."""
    order(endpoint="execute", cut_after_work=True)
    flow = side.flow(ECHO, max_retries=2)
    return await caught(NoukaiError, lambda: flow.execute("x")) | {"asked": len(asked())}


@scenario(
    [
        "Again, please.",
        "FlowExecutionError(status_code=409, code='STALE_TREE', message='Again, please.', request_id='<id 1>')",
    ]
)
async def how_an_error_reads(side: Side) -> Any:
    order(endpoint="execute", status=409, code="STALE_TREE", message="Again, please.")
    flow = side.flow(ECHO)
    try:
        await done(flow.execute("x"))
    except NoukaiError as error:
        return [str(error), repr(error)]


@scenario(
    [
        {
            "caught": "RateLimitError",
            "message": "slow down",
            "status_code": 429,
            "code": "RATE_LIMIT",
            "request_id": "r",
            "retry_after": 2.0,
        },
        {"caught": "NoukaiError", "message": "x", "execution_id": "e", "body": [1]},
        {"caught": "AuthenticationError", "message": "who?", "www_authenticate": "Bearer"},
    ]
)
async def errors_made_by_hand(side: Side) -> Any:
    """Applications' own tests raise them."""
    error = RateLimitError("slow down", status_code=429, code="RATE_LIMIT", request_id="r", retry_after=2.0)
    plain = NoukaiError("x", execution_id="e", response_body=[1])
    unknown = AuthenticationError("who?", www_authenticate="Bearer")
    return [refused(error), refused(plain) | {"body": plain.response_body}, refused(unknown)]
