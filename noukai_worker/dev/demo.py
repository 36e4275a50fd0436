"""Shows the project at work: a whole installation in a temporary folder, three runs at once, everything gone at the end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..client import aenqueue
from ..errors import NoukaiWorkerError
from ..runs import Entry
from ..settings import Settings, adopt
from .stack import Ports, services
from .supervisor import AsyncSupervisor


@dataclass(frozen=True, slots=True)
class Act:
    """One run of the demo."""

    flow: str
    mode: Literal["stream", "execute"]
    message: str


ACTS = (
    Act("acme/process/default", "execute", "invoice 4711"),
    Act("acme/spelling/grade-3", "stream", "lighthouse, harbour, anchor"),
    Act("acme/demo/slow-essay", "stream", "a lighthouse"),
)


class DemoOverdue(NoukaiWorkerError):
    """The demo took too long. `args`: (the limit in seconds,)."""

    code = "demo_overdue"

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"the demo did not end within {self.limit:g} s: a machine under load, or something is broken; see the log"
        )


def play(show: Callable[[Act, Entry], None], log: Path, *, limit: float = 60.0) -> dict[Act, Entry]:
    """Start everything, run the acts, show each entry as it comes, stop everything; the last entry of each act.

    The processes' output goes to `log`. Raises DemoOverdue after `limit` seconds, ServiceNotReady, ServerMissing, and asyncio's
    CancelledError if it was interrupted.
    """
    return asyncio.run(_play(show, log, limit))


async def _play(show: Callable[[Act, Entry], None], log: Path, limit: float) -> dict[Act, Entry]:
    ports = Ports.free()
    with tempfile.TemporaryDirectory(prefix="noukai-demo-") as folder, log.open("w", encoding="utf-8") as lines:
        try:
            async with (
                asyncio.timeout(limit),
                AsyncSupervisor(
                    services(Path(folder), ports),
                    log=lambda name, line: print(f"{name:>6} | {line}", file=lines, flush=True),
                    grace=5.0,
                ),
            ):
                adopt(Settings(redis_url=ports.redis_url, broker_url=None, result_backend=None))
                last = await asyncio.gather(*(_watch(act, show) for act in ACTS))
        except TimeoutError:
            raise DemoOverdue(limit) from None
        finally:
            adopt(None)
        return dict(zip(ACTS, last, strict=True))


async def _watch(act: Act, show: Callable[[Act, Entry], None]) -> Entry:
    run = await aenqueue(act.flow, mode=act.mode, message=act.message)
    async with run.subscribe() as entries:
        async for entry in entries:
            show(act, entry)
    return entry
