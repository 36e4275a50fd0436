"""Row 8: readers who never read, who read a byte a second, who come and go by the hundred; nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import threading
import time
from pathlib import Path

from tests.support.processes import until

from ..evidence import Accepted
from ..figures import Figures
from ..house import LOAD, house
from ..measures import Sampler
from ..readers import Audience, Reader, dial
from ..scale import Scale

TITLE = "readers that never read, read a byte a second, come and go by the thousand"
GOOD = 20
LATE = 2.0
"""Seconds within which a good reader has an entry (the 99th percentile)."""


def play(scale: Scale, folder: Path, *, package: Path | None = None) -> Figures:
    """Streams, a few good readers, and then the crowd."""
    figures = Figures("8")
    streams, comers, seconds = scale.count(60, 200), scale.of(200, 2000), scale.seconds(11.0, 90.0)
    with house(folder, scale, package=package) as it:
        web, port = it.web()
        it.stream()
        it.ready()
        fat = {"parameters": {"steps": 1, "events": int(seconds * 200), "interval": 0.005, "bytes": 4000}}
        thin = {"parameters": {"steps": 4, "events": int(seconds * 2), "interval": 0.12, "bytes": 200}}
        wide = it.post(LOAD, "fat", "stream", **fat)
        runs = [it.post(LOAD, f"thin-{n}", "stream", **thin) for n in range(streams)]
        audience = Audience(port)
        audience.start()
        for run in runs[:GOOD]:
            audience.attend(run)
        until(lambda: all(reader.seqs for reader in audience.readers), "the good readers read")
        with Sampler({"web": lambda: web.pid}, every=0.2) as sampler:
            before = sampler.last("web").megabytes
            crowd = Crowd(port, wide, runs, comers, seconds)
            crowd.start()
            crowd.join()
            most = max(sample.megabytes for sample in sampler.of("web"))
            it.ended([*runs, wide], within=seconds * 2 + 30)
            audience.settle()
        it.judge(figures)
        lags = sorted(lag for reader in audience.readers for lag in reader.lags)
        figures.own["web, MB before, most"] = [round(before, 1), round(most, 1)]
        figures.own["came and went"] = crowd.went
        figures.own["bytes of the slow reader, was dropped"] = [crowd.slow_bytes, crowd.slow_dropped]
        figures.own["the deaf reader was dropped"] = crowd.deaf_dropped
        late = lags[int(len(lags) * 0.99)]
        figures.own["lag of good readers, seconds (median, 99 %, max)"] = [
            round(value, 3) for value in (statistics.median(lags), late, lags[-1])
        ]
        broken = audience.broken()
        figures.demand(not broken, f"{len(broken)} good readers did not get every entry once: {broken[:3]}")
        figures.demand(crowd.went == comers, f"{comers} were to come and go, {crowd.went} did")
        allowed = scale.of(12.0, 48.0)  # megabytes, for all readers together
        figures.demand(most - before < allowed, f"the web process grew by {most - before:.0f} MB")
        figures.demand(late < LATE, f"a good reader had entries {late:.1f} s late")
        figures.demand(len(web.starts) == 1, "the web process died")
        if seconds > 60:
            figures.demand(crowd.deaf_dropped, "a reader that never read was not dropped")
    return figures


class Crowd(threading.Thread):
    """The bad readers, in a loop of their own."""

    def __init__(self, port: int, wide: Accepted, runs: list[Accepted], comers: int, seconds: float) -> None:
        super().__init__(name="crowd")
        self._port, self._wide, self._runs, self._comers, self._seconds = port, wide, runs, comers, seconds
        self.went = self.slow_bytes = 0
        self.slow_dropped = self.deaf_dropped = False

    def run(self) -> None:
        """All of them, for so many seconds."""
        asyncio.run(self._all())

    async def _all(self) -> None:
        chance = random.Random(8)
        end = time.monotonic() + self._seconds
        comers = [self._come_and_go(chance.uniform(0, self._seconds * 0.8), chance) for _ in range(self._comers)]
        await asyncio.gather(self._deaf(end), self._slow(end), *comers)

    async def _deaf(self, end: float) -> None:
        loop, sock = asyncio.get_running_loop(), await dial(self._port, self._wide, 0, buffer=4096)
        await asyncio.sleep(end - time.monotonic())
        # Whoever was dropped finds the end behind what the kernel still holds for him; the others wait in vain.
        try:
            async with asyncio.timeout(1):
                while await loop.sock_recv(sock, 1 << 16):
                    pass
        except TimeoutError:
            return
        except OSError:
            pass
        finally:
            sock.close()
        self.deaf_dropped = True

    async def _slow(self, end: float) -> None:
        loop, sock = asyncio.get_running_loop(), await dial(self._port, self._wide, 0, buffer=4096)
        while time.monotonic() < end and not self.slow_dropped:
            got = b""
            with contextlib.suppress(ConnectionError):
                got = await loop.sock_recv(sock, 1)
            self.slow_bytes += len(got)
            self.slow_dropped = not got
            await asyncio.sleep(1.0)  # a byte a second
        sock.close()

    async def _come_and_go(self, delay: float, chance: random.Random) -> None:
        await asyncio.sleep(delay)  # they do not all come at once
        reader = Reader(chance.choice(self._runs), self._port)
        await reader.once(leave_after=chance.choice([1, 5, 20]))
        self.went += 1
