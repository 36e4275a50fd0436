"""Jobs: runs that outlive the request that queued them, and how they stand (WIRE.md 5.1, 5.2)."""

from __future__ import annotations

import asyncio
import logging

from .answers import JsonAnswer
from .background import Background
from .calls import Call, JobCall
from .connection import HangUp
from .course import walk
from .endpoints import CallEndpoint, Exchange, Place, ReadEndpoint
from .events import Silence
from .live import Watched
from .runs import Run
from .service import Service
from .tools import Offer
from .work import Work

log = logging.getLogger(__name__)

#: Seconds for which a job is pending before its work begins: whoever polls at once sees it so.
PENDING_FOR = 0.1


class SubmitJob(CallEndpoint):
    """``POST …/jobs``."""

    name = "jobs"
    trigger = "job"

    def __init__(self, service: Service, background: Background) -> None:
        super().__init__(service)
        self._background = background

    def _read(self, body: bytes) -> JobCall:
        return JobCall.parse(body)

    async def _respond(self, exchange: Exchange, place: Place, call: Call, run: Run | None) -> None:
        run = self._new_run(exchange, place, call)
        run.status = "pending"
        work = Work(
            service=self._service,
            run=run,
            payer=exchange.key,
            offer=Offer({}),
            turn=None,
            sink=Watched(run, Silence(), self._service.watchers),
            block_overrides=call.block_overrides,
        )
        self._background.start(self._do(work))
        if exchange.manner and exchange.manner.cut_after_work:
            raise HangUp
        accepted = {
            "executionId": run.execution_id,
            "status": "started",
            "flowId": run.flow.flow_id,
            "blockCount": len(run.steps),
        }
        await exchange.answer(JsonAnswer(accepted, status_code=202))

    async def _do(self, work: Work) -> None:
        run = work.run
        await asyncio.sleep(PENDING_FOR)
        run.status = "running"
        try:
            await walk(work, 0, fresh=True)
        except Exception:
            log.exception("job %s crashed", run.execution_id)
            self._service.finish(run, "failed", "The flow server has a bug; its log has the traceback.")


class PollJob(ReadEndpoint):
    """``GET …/jobs/{execution_id}``."""

    name = "poll"
    missing = "JOB_NOT_FOUND"

    def _is_mine(self, run: Run) -> bool:
        return run.trigger == "job"

    async def _tell(self, exchange: Exchange, run: Run) -> None:
        failed = run.status == "failed"
        state = {
            "executionId": run.execution_id,
            "status": run.status,
            "result": None if failed else run.result,
            "error": run.result if failed else None,
        }
        await exchange.answer(JsonAnswer(state))
