"""The base of both tasks: publishing records the run, executing claims it, and every end of an attempt is told to Celery."""

from __future__ import annotations

import random
import socket
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from celery import Task
from celery.backends.base import DisabledBackend
from celery.exceptions import Ignore
from celery.result import AsyncResult
from celery.utils.log import get_task_logger
from celery.utils.time import maybe_make_aware

from .. import pool
from ..errors import InvalidRequest, NoukaiWorkerError, RunEnded, RunFailed
from ..runs import FINDERS, Failure, Mode, RunRequest, State, operations, outcome, shared
from ..runs.answers import Claimed, Refused
from ..settings import current
from . import dispatch, policy, trains
from .admission import TurnedAway
from .leases import insist
from .usher import usher

logger = get_task_logger(__name__)

_KEPT = frozenset(
    {"chain", "chord", "exchange", "group_id", "group_index", "headers", "ignore_result", "link", "link_error", "parent_id",
     "priority", "queue", "reply_to", "replaced_task_nesting", "root_id", "routing_key", "shadow", "soft_time_limit",
     "stamped_headers", "time_limit"}
)  # fmt: skip
"""Options of `apply_async` that every message of a run carries."""

_PLAIN = frozenset({"add_to_parent", "headers", "priority", "retry", "retry_policy"})
"""Options of a message without links, chain or group, and on no connection in particular."""


class FlowTask(Task):  # type: ignore[misc] # Celery has no types
    """A Celery task whose runs keep the laws, however they are published."""

    abstract = True
    mode: ClassVar[Mode]
    # The run's own record is the truth: a message that a lost worker held is acked when it comes back, and does no harm.
    acks_late = True
    reject_on_worker_lost = True
    # Celery would write STARTED before the claim, over the final state of a run whose message came twice.
    track_started = False
    throws = (RunEnded,)
    serializer = "json"

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Record the run, then send its message. `countdown` and `eta` make it due later, without a message until then; `expires`
        limits its age.

        Raises InvalidRequest for arguments that make no sense, before anything is written.
        """
        del (
            producer
        )  # a message may be sent again by another process, so none of them depends on the first one's connection
        delay = checked_delay(self._seconds_until(options.pop("eta", None)) or options.pop("countdown", None))
        if self.app.conf.task_always_eager:
            delay = 0.0
        age = self._seconds_until(options.pop("expires", None))
        if age is not None and age <= delay:
            raise InvalidRequest("expires: the run would expire before it is due")
        request = self.read(args or (), dict(kwargs or {}) | ({} if age is None else {"max_age": age - delay}))
        kept = _KEPT | set(options.get("stamped_headers") or ())
        stored = {"link": link, "link_error": link_error, "shadow": shadow, **options}
        stored = {name: value for name, value in stored.items() if name in kept and value is not None}
        submission = dispatch.Submission(task_id or dispatch.run_id_of(None), request, delay, stored)
        if self.app.conf.task_always_eager:
            dispatch.record_now(submission)
            return super().apply_async(*dispatch.arguments(request), task_id=submission.run_id, **stored)
        dispatch.submit(self.app, submission)
        return self.AsyncResult(submission.run_id)

    def publish(self, args: Sequence[Any], kwargs: Mapping[str, Any], run_id: str, options: Mapping[str, Any]) -> None:
        """Send a message for a run that is recorded: by Celery's own `apply_async`, unless nothing in it needs that."""
        if options.keys() <= _PLAIN and trains.possible(self.app):
            trains.alone(self.app, self.name, args, kwargs, run_id, options)
        else:
            super().apply_async(args, kwargs, task_id=run_id, **options)

    def read(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> RunRequest:
        """The request that these arguments make; `flow` and `message` may be positional. Raises InvalidRequest."""
        names = [name for name in ("flow", "message") if name not in kwargs]
        if len(args) > len(names):
            raise InvalidRequest(
                f"{self.name} takes flow and message as positional arguments, once each; name the others"
            )
        fields = dict(zip(names, args, strict=False)) | dict(kwargs) | {"mode": self.mode}
        if "flow" not in fields:
            raise InvalidRequest(f'{self.name} needs a flow: "org/project/slug"')
        return RunRequest.build(current().max_input_bytes, **fields)

    def _seconds_until(self, moment: datetime | float | None) -> float | None:
        if not isinstance(moment, datetime):
            return moment
        aware: datetime = maybe_make_aware(moment, self.app.timezone)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())

    # What follows runs in a worker.

    @property
    def worker(self) -> str:
        """Who works on the run, as its log says."""
        return str(self.request.hostname or socket.gethostname())

    def claim_id(self) -> str:
        """A claim is one delivery of one message: a claim whose answer was lost may be repeated under the same id."""
        return uuid.uuid4().hex

    def ensure_recorded(self) -> dispatch.Submission | None:
        """What a worker must record before the claim: the run of a message that was sent by name, past `apply_async`."""
        request = self.request
        if request.get(dispatch.RECORDED):
            return None
        told = {
            "link": request.callbacks,
            "link_error": request.errbacks,
            "group_id": request.group,
            "exchange": (request.delivery_info or {}).get("exchange"),
            "routing_key": (request.delivery_info or {}).get("routing_key"),
        }
        told |= {
            name: request.get(name) for name in ("chain", "chord", "group_index", "parent_id", "reply_to", "root_id")
        }
        options = {name: value for name, value in told.items() if value is not None}
        return dispatch.Submission(request.id, self.read(request.args or (), request.kwargs or {}), 0.0, options)

    def claimed(self, answer: Claimed | Refused | NoukaiWorkerError | None) -> Claimed:
        """The claim, if it is ours. Raises TurnedAway, and the error that it was answered with."""
        if isinstance(answer, NoukaiWorkerError):
            raise answer
        if isinstance(answer, Refused):
            raise TurnedAway(answer.state)
        assert answer, "whoever was admitted has claimed"
        return answer

    def report(self, state: State) -> Any:
        """What to tell Celery of a message with nothing to do: how the run ended, if Celery has missed it; else Ignore."""
        run_id = self.request.id
        logger.info("run %s is %s: this message has nothing to do", run_id, state)
        ignored = self.ignore_result if self.request.ignore_result is None else self.request.ignore_result
        known = ignored or isinstance(self.app.backend, DisabledBackend)  # then nobody waits, and nothing can be asked
        if state in (State.COMPLETED, State.FAILED) and not known and not self.AsyncResult(run_id).ready():
            # Its worker died between the run's record and Celery's: chains and chords still wait.
            store = shared(current().redis_url, current().answer_within)
            view = pool.in_thread(insist, store, operations.show(run_id))
            if view.failure:
                raise RunFailed(run_id, view.failure.code, view.failure.message, view.attempt)
            return view.result
        raise Ignore

    def fenced(self, claimed: Claimed, state: State | None) -> Ignore:
        """What to raise when the run was taken away: nothing of ours is to be recorded, neither here nor by Celery."""
        logger.warning("run %s was taken from attempt %d; it is %s", claimed.lease.run_id, claimed.lease.attempt, state)
        return Ignore()

    def send_again(self, claimed: Claimed) -> None:
        """Publish a run that was given back. If that fails, its deadline brings it back (law 5)."""
        try:
            dispatch.send(self.app, claimed.lease.run_id, claimed.request, claimed.dispatch)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            logger.warning("run %s will be sent by a sweeper (%s)", claimed.lease.run_id, error)

    def judge(
        self, error: Exception, claimed: Claimed, *, repeatable: bool | None = None, settled: bool = True
    ) -> outcome.Outcome:
        """How an attempt that raised `error` ends.

        `repeatable`: what raised it may be done again at no cost; so may all that a stream does. Not `settled`: an earlier paid
        call may have been carried out, and it has not been found out.
        """
        verdict = policy.classify(error, repeatable=self.mode == "stream" if repeatable is None else repeatable)
        if isinstance(verdict, policy.Hopeless) and verdict.failure.code == "internal_error":
            logger.error("run %s: an error of this program", claimed.lease.run_id, exc_info=error)
        match verdict:
            case policy.Hopeless(failure, known):
                return outcome.Failed(failure, settled and known)
            case policy.Again(failure, floor):
                if floor:  # whoever is asked to wait, waits with all that use the credential
                    usher(self.app).pause(claimed.request.credential, floor)
                return self.again(failure, claimed, floor, settled=settled)
            case policy.Unknown(failure) if claimed.request.alone_in_session:
                return self.again(failure, claimed, None, settled=False)
            case policy.Unknown(failure):
                return self.unknown(failure, claimed) or self.again(failure, claimed, None)

    def unknown(self, failure: Failure, claimed: Claimed) -> outcome.Outcome | None:
        """What the run's policy says when nobody can tell whether its paid call was carried out; None to make the call again."""
        if claimed.request.on_unknown_outcome == "retry":
            return None
        text = f"{failure.message}; it cannot be known whether the paid call was carried out"
        return outcome.Failed(Failure("outcome_unknown", text), settled=False)

    def may_call(self, claimed: Claimed) -> bool:
        """Whether this attempt may make a paid call; beyond the last one, it may only find out about an earlier call."""
        return claimed.attempts <= (claimed.request.max_attempts or current().max_attempts)

    def again(
        self, failure: Failure, claimed: Claimed, floor: float | None, *, settled: bool = True
    ) -> outcome.Outcome:
        """Another attempt, if one is left; `floor` in seconds. What is not `settled` may be found out by a few attempts more."""
        settings = current()
        most = (claimed.request.max_attempts or settings.max_attempts) + (
            0 if settled or self.mode == "stream" else FINDERS
        )
        if claimed.attempts >= most:
            return outcome.Failed(failure, settled)
        pause = policy.backoff(
            claimed.attempts,
            base=settings.backoff_base,
            ceiling=settings.backoff_max,
            floor=floor,
            chance=random.random(),  # noqa: S311 - spreads retries, hides nothing
        )
        return outcome.Retrying(failure, pause, settled)

    def settle(self, end: outcome.Outcome, claimed: Claimed) -> Any:
        """Say in Celery's words how the attempt ended; its result is the flow's output."""
        run_id = claimed.lease.run_id
        match end:
            case outcome.Completed(result, _):
                return result
            case outcome.Failed(failure, _):
                raise RunFailed(run_id, failure.code, failure.message, claimed.lease.attempt)
            case outcome.Retrying(failure, delay, _):
                logger.info("run %s: %s: %s; again in %.1f s", run_id, failure.code, failure.message, delay)
        raise Ignore


def checked_delay(delay: object) -> float:
    """A delay in seconds, None for none. Raises InvalidRequest."""
    if delay is None:
        return 0.0
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= _LONGEST_DELAY:
        raise InvalidRequest(f"delay is a number of seconds from 0 to {_LONGEST_DELAY:,}")
    return float(delay)


_LONGEST_DELAY = 366 * 86_400
