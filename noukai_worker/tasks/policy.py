"""One pure function says what a failed attempt means: try again after so long, give up, or nobody knows what happened.

What counts is whether the service may have done paid work that we would pay for again. A streaming run resumes at its checkpoint,
and a question is free, so these are repeatable after any interruption; `execute`, or handing in a job, is one paid call, and may
only be repeated if the service did not take it up (DESIGN 2, law 6).
"""

from __future__ import annotations

from typing import NamedTuple

from celery.exceptions import SoftTimeLimitExceeded

import noukai_sdk

from ..errors import CredentialMissing, InvalidRequest
from ..runs import Failure

_NOT_TAKEN_UP = frozenset({429, 503})
_PASSING = frozenset({408, 425, 429})
_NOT_IMPLEMENTED = 501
_HOPELESS_CODES = frozenset({"BYOK_KEY_REJECTED", "CREDITS_EXHAUSTED"})


class Again(NamedTuple):
    """Worth another attempt. `floor` is the pause in seconds that the service asked for (Retry-After)."""

    failure: Failure
    floor: float | None = None


class Hopeless(NamedTuple):
    """Another attempt would end the same way. Not `settled`: the paid call may have been carried out all the same."""

    failure: Failure
    settled: bool = True


class Unknown(NamedTuple):
    """A paid call may or may not have been carried out: the next attempt asks the service (`reconcile`)."""

    failure: Failure


Verdict = Again | Hopeless | Unknown


def classify(error: Exception, *, repeatable: bool) -> Verdict:
    """What `error`, raised by what an attempt did, means for the run; `repeatable`: doing it again costs nothing."""
    if isinstance(error, CredentialMissing | InvalidRequest):
        return Hopeless(Failure(error.code, str(error)))
    if isinstance(error, SoftTimeLimitExceeded):
        return Hopeless(Failure("time_limit", "the task ran over Celery's soft time limit"), settled=False)
    if isinstance(error, ValueError) and not isinstance(error, noukai_sdk.NoukaiError):
        # The SDK's word for arguments that make no sense, though others use it, too.
        return Hopeless(Failure("invalid_request", str(error)), settled=False)
    if isinstance(error, noukai_sdk.StreamInterruptedError):
        text = "the service's stream broke off; the next attempt goes on at the first step that has not finished"
        return (
            Again(Failure(error.code or _word(type(error)), text)) if repeatable else Unknown(Failure("cut_off", text))
        )
    if not isinstance(error, noukai_sdk.NoukaiError):
        return Hopeless(Failure("internal_error", f"{type(error).__name__}: {error}"), settled=False)
    failure = Failure(error.code or _word(type(error)), error.message)
    if not error.sent:
        if isinstance(error, noukai_sdk.APIConnectionError):
            return Again(failure)
        return Hopeless(failure)
    if error.status_code is not None and error.status_code >= 400:
        return _answered(error, failure, repeatable)
    if isinstance(error, noukai_sdk.APIConnectionError | noukai_sdk.APIResponseError):
        return Again(failure) if repeatable else Unknown(failure)
    return Hopeless(failure, settled=False)


def _answered(error: noukai_sdk.NoukaiError, failure: Failure, repeatable: bool) -> Verdict:
    status = error.status_code
    if not _passing(status or 0) or failure.code in _HOPELESS_CODES:
        return Hopeless(failure)
    if repeatable or status in _NOT_TAKEN_UP:
        return Again(failure, error.retry_after)
    return Unknown(failure)


def _passing(status: int) -> bool:
    # 520 to 530 are what proxies say of a server that they lost: 524 is a call that goes on behind them.
    return status in _PASSING or (status >= 500 and status != _NOT_IMPLEMENTED)


def backoff(attempt: int, *, base: float, ceiling: float, floor: float | None, chance: float) -> float:
    """Seconds to wait after `attempt` (from 1) failed: exponential, jittered by `chance` (0 to 1); never less than `floor`.

    A floor is jittered upwards by a tenth, so that many runs told the same second do not come back at once.
    """
    pause = min(ceiling, base * 2.0 ** min(attempt - 1, 32)) * (0.5 + chance / 2)
    return pause if floor is None else max(pause, floor * (1 + chance / 10))


def _word(kind: type[Exception]) -> str:
    """`StreamInterruptedError` → `stream_interrupted`: a code for errors to which the service gave none."""
    name = kind.__name__.removesuffix("Error").replace("API", "Api")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
