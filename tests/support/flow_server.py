"""What tests of the flow server share: reading its refusals, and runs made by hand."""

from __future__ import annotations

import httpx

from noukai_worker.dev.flow_server import Flow, Step
from noukai_worker.dev.flow_server.runs import Run


def refused(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer that must be an error in the service's shape, with a request id."""
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"detail"}
    detail = answer.json()["detail"]
    assert detail.keys() == {"code", "message"}
    assert detail["message"]
    return answer.status_code, detail["code"]


def a_run(*, message: str = "x", session_id: str | None = None, key: str = "nk_x", started_at: float = 0.0) -> Run:
    """A fresh run of a flow with one step."""
    return Run(
        flow=Flow(path="a/b/c", steps=(Step(id="s"),)),
        version="production",
        trigger="step",
        session_id=session_id,
        message=message,
        messages=[],
        parameters={},
        attachments=[],
        trace=False,
        started_at=started_at,
        key=key,
    )
