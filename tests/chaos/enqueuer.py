"""A process that enqueues runs, in Python or over HTTP, and may be killed at any moment: `python -m tests.chaos.enqueuer PLAN`.

What it was told is accepted it writes to a file, a line a run. Started again, it goes on behind the last line; a run of which it
does not know goes under the same idempotency key again, as a careful application would do it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from noukai_worker import enqueue
from noukai_worker.errors import StoreUnavailable

Answer = tuple[str, str]


def main(path: str) -> int:
    plan = json.loads(Path(path).read_text())
    out = Path(plan["out"])
    told = out.read_text().splitlines(keepends=True) if out.exists() else []
    whole = [line for line in told if line.endswith("\n")]
    web = httpx.Client(base_url=plan["web"], timeout=10) if "web" in plan else None
    begin = time.monotonic()
    modes = plan.get("modes", ["stream", "execute", "job"])
    with out.open("w") as lines:
        lines.writelines(whole)
        lines.flush()
        for n in range(len(whole), plan["count"]):
            time.sleep(max(0.0, begin + (n - len(whole)) / plan["rate"] - time.monotonic()))
            message, mode = f"{plan['prefix']}-{n}", modes[n % len(modes)]
            fields = {"message": message, "mode": mode, **plan.get("fields", {})}
            id_, token = _insist(plan["flow"], fields, message, web)
            lines.write(json.dumps({"id": id_, "mode": mode, "message": message, "token": token}) + "\n")
            lines.flush()
    return 0


def _insist(flow: str, fields: dict[str, Any], key: str, web: httpx.Client | None) -> Answer:
    while True:
        try:
            return _over_http(web, flow, fields, key) if web else _directly(flow, fields, key)
        except (StoreUnavailable, httpx.TransportError):
            time.sleep(0.1)


def _directly(flow: str, fields: dict[str, Any], key: str) -> Answer:
    run = enqueue(flow, idempotency_key=key, **fields)
    return run.id, run.token


def _over_http(web: httpx.Client, flow: str, fields: dict[str, Any], key: str) -> Answer:
    answer = web.post("/runs", json={"flow": flow, **fields}, headers={"Idempotency-Key": key})
    if answer.status_code == 503:
        raise httpx.ConnectError("Redis is away")
    answer.raise_for_status()
    return answer.json()["id"], answer.json()["token"]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
