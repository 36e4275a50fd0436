"""This room gives the failures of HTTP libraries our types, and tells whether a request may have been sent."""

from __future__ import annotations

import httpx

from noukai_sdk._errors import (
    APIConnectionError,
    APITimeoutError,
    NoukaiError,
    PoolTimeoutError,
    StreamInterruptedError,
    StreamTimeoutError,
)


def is_failure(error: Exception) -> bool:
    """Whether `error` is a transport's own. The aiohttp transport lets some of aiohttp's through."""
    return isinstance(error, httpx.HTTPError | httpx.StreamError | OSError) or _is_aiohttp(error)


def failed_request(error: Exception) -> NoukaiError:
    """The typed error for a failure before the reply's headers were read."""
    sent = _may_have_been_sent(error)
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.PoolTimeout):
        return PoolTimeoutError("no connection was free in time; raise the timeout, or run fewer at once", sent=False)
    if isinstance(error, httpx.TimeoutException | TimeoutError) and not _is_wrong_timeout(error):
        return APITimeoutError(f"no answer within the timeout ({text})", sent=sent)
    return APIConnectionError(f"the connection failed ({text})", sent=sent)


def failed_read(error: Exception) -> NoukaiError:
    """The typed error for a failure while a stream was being read."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException | TimeoutError) and not _is_wrong_timeout(error):
        return StreamTimeoutError(f"the stream fell silent for longer than the timeout ({text}); resume at .checkpoint")
    return StreamInterruptedError(f"the stream broke off ({text}); resume at .checkpoint")


def _may_have_been_sent(error: Exception) -> bool:
    cause = error.__cause__
    if isinstance(cause, Exception) and _is_aiohttp(cause):
        # The aiohttp transport calls every lost connection a ConnectTimeout, also one lost after sending.
        names = {kind.__name__ for kind in type(cause).__mro__}
        return not names & {"ClientConnectorError", "ClientHttpProxyError", "ConnectionTimeoutError", "InvalidURL"}
    not_sent = (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.UnsupportedProtocol,
        httpx.ProxyError,
    )
    return not isinstance(error, not_sent)


def _is_wrong_timeout(error: Exception) -> bool:
    return (
        error.__cause__ is not None and _is_aiohttp(error.__cause__) and not isinstance(error.__cause__, TimeoutError)
    )


def _is_aiohttp(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "aiohttp"
