"""Keeps a few processes running: starts them in order, restarts what dies, stops them in reverse, leaves none behind.

Each process is a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone and the order of stopping is
kept: a worker can still give its runs back, because Redis goes last.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..errors import NoukaiWorkerError
from . import guard

Log = Callable[[str, str], None]
"""Takes a service's name and one line of its output, without the line end."""

_BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0)
_SETTLED = 10.0
_STARTS = 3
_POLL = 0.1
_LONGEST_LINE = 16_384
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OWN_NAME = "dev"
"""The name under which the supervisor itself writes to the log."""


class ServiceNotReady(NoukaiWorkerError):
    """A service did not come up. `args`: (its name, reason)."""

    code = "service_not_ready"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"{self.name} did not start ({self.reason}): its lines in the log say why"


@dataclass(frozen=True, slots=True)
class Service:
    """One process to keep running."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: Callable[[], Awaitable[bool]]
    """Asked again and again while it starts; must not raise."""


@dataclass(slots=True)
class _Kept:
    service: Service
    wave: int
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    deaths: int = 0
    """In a row, without having settled in between."""
    status: int | None = None
    last: deque[str] = field(default_factory=lambda: deque(maxlen=1))


class AsyncSupervisor:
    """Runs `waves` of services: a wave is started when the one before is ready, and stopped when the one after has ended.

    Inside `async with` all of them are ready. Entering raises ServiceNotReady if one keeps dying, or is not ready after
    `patience` seconds. On leaving each gets SIGTERM and `grace` seconds before SIGKILL. SIGINT, SIGTERM and SIGHUP cancel the
    task that entered; a second one kills everything at once.
    """

    def __init__(
        self, waves: Sequence[Sequence[Service]], *, log: Log, grace: float = 10.0, patience: float = 45.0
    ) -> None:
        self._waves = [[_Kept(service, number) for service in wave] for number, wave in enumerate(waves)]
        self._log, self._grace, self._patience = log, grace, patience
        self._stopping = asyncio.Event()
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._guard: asyncio.subprocess.Process | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._interrupted = False

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        for number in _INTERRUPTS:
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt)
        try:
            # Isolated and without site-packages: the guard is ready before anything else is started.
            self._guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(Path(guard.__file__))),
                stdin=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            for wave in self._waves:
                for kept in wave:
                    kept.task = asyncio.create_task(self._keep(kept))
                await asyncio.gather(*(self._until_ready(kept) for kept in wave))
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def wait(self) -> None:
        """Never returns; raises what `log` raised."""
        await self._broken

    def kill(self) -> None:
        """SIGKILL to everything, now, for somebody who will not wait for the grace."""
        for kept in self._all():
            _send(kept.process, signal.SIGKILL)

    async def aclose(self) -> None:
        """Stop everything, last wave first."""
        self._stopping.set()
        for wave in reversed(self._waves):
            await asyncio.gather(*(self._stop(kept) for kept in wave))
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            await self._guard.wait()
        if self._broken.done():
            self._broken.exception()
        for number in _INTERRUPTS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _interrupt(self) -> None:
        if self._interrupted or self._stopping.is_set() or self._owner is None:
            self.kill()
        else:
            self._interrupted = True
            self._owner.cancel()

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each service that runs now."""
        return {kept.service.name: kept.process.pid for kept in self._all() if kept.process is not None}

    def _all(self) -> list[_Kept]:
        return [kept for wave in self._waves for kept in wave]

    async def _keep(self, kept: _Kept) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            born = loop.time()
            await self._run(kept)
            if self._stopping.is_set():
                return
            if loop.time() - born > _SETTLED:
                kept.deaths = 0
            pause = _BACKOFF[min(kept.deaths, len(_BACKOFF) - 1)]
            kept.deaths += 1
            self._tell(OWN_NAME, f"{kept.service.name} ended ({_how(kept.status)}), starting it again in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run(self, kept: _Kept) -> None:
        service = kept.service
        try:
            process = await asyncio.create_subprocess_exec(
                *service.command,
                env=dict(service.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            kept.last.append(str(error))
            self._tell(service.name, str(error))
            return
        kept.process = process
        self._tell_guard("+", process.pid, kept.wave)
        if self._stopping.is_set():
            _send(process, signal.SIGTERM)
        try:
            await self._pass_on(kept, process.stdout)
            kept.status = await process.wait()
        finally:
            self._tell_guard("-", process.pid, kept.wave)
            kept.process = None

    async def _pass_on(self, kept: _Kept, output: asyncio.StreamReader | None) -> None:
        if output is None:
            return
        rest = b""
        while chunk := await output.read(65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._line(kept, line)
        if rest:
            self._line(kept, rest)

    def _line(self, kept: _Kept, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            kept.last.append(text)
            self._tell(kept.service.name, text)

    def _tell(self, name: str, line: str) -> None:
        try:
            self._log(name, line)
        # Whatever the log's reader did wrong (a closed pipe, a full disk) must end the supervisor, not one of its tasks.
        except Exception as error:  # noqa: BLE001
            if not self._broken.done():
                self._broken.set_exception(error)

    def _tell_guard(self, sign: str, pid: int, wave: int) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(f"{sign}{pid} {wave}\n".encode())

    async def _until_ready(self, kept: _Kept) -> None:
        deadline = asyncio.get_running_loop().time() + self._patience
        while not (kept.process is not None and await kept.service.ready()):
            if self._stopping.is_set():
                return
            if self._broken.done():
                await self._broken
            if kept.deaths >= _STARTS:
                raise ServiceNotReady(kept.service.name, kept.last[0] if kept.last else _how(kept.status))
            if asyncio.get_running_loop().time() > deadline:
                raise ServiceNotReady(kept.service.name, f"not ready after {self._patience:g} s")
            await asyncio.sleep(_POLL)

    async def _stop(self, kept: _Kept) -> None:
        if kept.task is None:
            return
        _send(kept.process, signal.SIGTERM)
        done, _ = await asyncio.wait([kept.task], timeout=self._grace)
        if not done:
            self._tell(OWN_NAME, f"{kept.service.name} does not stop, killing it")
            _send(kept.process, signal.SIGKILL)
            await asyncio.wait([kept.task])
        kept.task.result()


def _send(process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


def _how(status: int | None) -> str:
    if status is None:
        return "it could not be started"
    if status < 0:
        return signal.Signals(-status).name
    return f"exit code {status}"
