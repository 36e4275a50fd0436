from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from noukai_worker.dev.supervisor import AsyncSupervisor, Service, ServiceNotReady
from tests.support.processes import until

pytestmark = pytest.mark.integration

# A service that says when it is up and when it is told to stop, in a file that everybody appends to.
SERVICE = """
import os, signal, sys, time
name, diary, deaf = sys.argv[1:4]
def note(word):
    with open(diary, "a") as lines:
        lines.write(f"{name} {word} {os.getpid()}\\n")
def stop(*_):
    note("down")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if deaf == "deaf" else stop)
note("up")
print(f"{name} is up", flush=True)
while True:
    time.sleep(60)
"""


class Diary:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.path.read_text().splitlines()]

    def pids(self, name: str) -> list[int]:
        return [int(pid) for who, word, pid in self.lines() if (who, word) == (name, "up")]

    def service(self, name: str, *, deaf: bool = False) -> Service:
        async def ready() -> bool:
            return bool(self.pids(name))

        command = (sys.executable, "-S", "-c", SERVICE, name, str(self.path), "deaf" if deaf else "hears")
        return Service(name, command, os.environ, ready)


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path / "diary")


class Log(list[tuple[str, str]]):
    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie that nobody has collected yet has ended, too.
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


async def happens(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - files and processes set no events
            await asyncio.sleep(0.02)


def test_waves_start_in_order_and_stop_in_reverse(diary: Diary) -> None:
    log = Log()

    async def main() -> None:
        async with AsyncSupervisor([[diary.service("base")], [diary.service("a"), diary.service("b")]], log=log):
            assert {who for who, _, _ in diary.lines()} == {"base", "a", "b"}

    asyncio.run(main())
    order = [(who, word) for who, word, _ in diary.lines()]
    assert order[0] == ("base", "up")
    assert order[-1] == ("base", "down")
    assert sorted(order[1:3]) == [("a", "up"), ("b", "up")]
    assert ("base", "base is up") in log
    assert all(gone(int(pid)) for _, _, pid in diary.lines())


def test_what_dies_is_started_again(diary: Diary) -> None:
    log = Log()

    async def main() -> None:
        async with AsyncSupervisor([[diary.service("a")]], log=log) as supervisor:
            first = supervisor.pids["a"]
            os.kill(first, signal.SIGKILL)
            await happens(lambda: len(diary.pids("a")) == 2)
            await happens(lambda: "a" in supervisor.pids)
            assert supervisor.pids["a"] != first

    asyncio.run(main())
    assert ("dev", "a ended (SIGKILL), starting it again in 0.5 s") in log
    assert all(gone(pid) for pid in diary.pids("a"))


def test_who_does_not_hear_is_killed(diary: Diary) -> None:
    log = Log()

    async def main() -> None:
        async with AsyncSupervisor([[diary.service("a", deaf=True)]], log=log, grace=0.3):
            pass

    asyncio.run(main())
    assert ("dev", "a does not stop, killing it") in log
    assert all(gone(pid) for pid in diary.pids("a"))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ((sys.executable, "-S", "-c", "print('no such luck'); raise SystemExit(3)"), "no such luck"),
        ((sys.executable, "-S", "-c", "raise SystemExit(3)"), "exit code 3"),
        (("/nowhere/at-all",), "No such file"),
    ],
)
def test_what_cannot_start_is_told_and_the_rest_is_stopped(diary: Diary, command: tuple[str, ...], reason: str) -> None:
    async def never() -> bool:
        return False

    async def main() -> None:
        async with AsyncSupervisor([[diary.service("base")], [Service("bad", command, os.environ, never)]], log=Log()):
            raise AssertionError("it is not ready")

    with pytest.raises(ServiceNotReady, match="bad did not start") as raised:
        asyncio.run(main())
    assert reason in str(raised.value)
    assert all(gone(pid) for pid in diary.pids("base"))


def test_what_never_gets_ready_is_told(diary: Diary) -> None:
    async def never() -> bool:
        return False

    service = diary.service("a")
    deaf = Service(service.name, service.command, service.environment, never)

    async def main() -> None:
        async with AsyncSupervisor([[deaf]], log=Log(), patience=0.5):
            raise AssertionError("it is not ready")

    with pytest.raises(ServiceNotReady, match=r"not ready after 0\.5 s"):
        asyncio.run(main())
    assert all(gone(pid) for pid in diary.pids("a"))


def test_a_log_that_breaks_ends_everything(diary: Diary) -> None:
    def broken(name: str, line: str) -> None:
        raise BrokenPipeError

    async def main() -> None:
        async with AsyncSupervisor([[diary.service("a")]], log=broken) as supervisor:
            await supervisor.wait()

    with pytest.raises(BrokenPipeError):
        asyncio.run(main())
    assert all(gone(pid) for pid in diary.pids("a"))


def test_long_and_unreadable_lines_pass(diary: Diary) -> None:
    log = Log()
    code = "import os, time; os.write(1, b'x' * 100_000 + b'\\n' + b'\\xff\\xfe end\\nunended'); time.sleep(0.2)"
    up: Callable[[], Awaitable[bool]]

    async def up() -> bool:
        return any("end" in line for _, line in log)

    async def main() -> None:
        async with AsyncSupervisor([[Service("a", (sys.executable, "-c", code), os.environ, up)]], log=log):
            await happens(lambda: ("a", "unended") in log)

    asyncio.run(main())
    assert sum(line.count("x") for name, line in log if name == "a") % 100_000 == 0
    assert ("a", "�� end") in log


def _supervisor_process(diary: Diary, *, deaf: bool = False) -> subprocess.Popen[bytes]:
    """A supervisor in a process of its own, that can be killed."""
    code = f"""
    import asyncio, importlib.util, sys
    from pathlib import Path
    sys.path.insert(0, {str(Path.cwd())!r})
    spec = importlib.util.spec_from_file_location("this", {__file__!r})
    this = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(this)
    diary = this.Diary(Path({str(diary.path)!r}))
    async def main():
        waves = [[diary.service("base")], [diary.service("a", deaf={deaf})]]
        async with this.AsyncSupervisor(waves, log=lambda *_: None, grace=60) as supervisor:
            diary.path.with_name("ready").touch()
            await supervisor.wait()
    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        sys.exit(7)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    until(lambda: diary.path.with_name("ready").exists() or process.poll() is not None, "the supervisor is ready")
    assert process.poll() is None
    return process


def test_a_killed_supervisor_leaves_nothing_behind(diary: Diary) -> None:
    with _supervisor_process(diary) as process:
        process.kill()
        process.wait()
        pids = diary.pids("base") + diary.pids("a")
        assert len(pids) == 2
        until(lambda: all(map(gone, pids)), "the orphans end", within=20)
    assert [(who, word) for who, word, _ in diary.lines()][2:] == [("a", "down"), ("base", "down")]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_order(diary: Diary, signum: signal.Signals) -> None:
    with _supervisor_process(diary) as process:
        process.send_signal(signum)
        assert process.wait(20) == 7
    assert [(who, word) for who, word, _ in diary.lines()][2:] == [("a", "down"), ("base", "down")]


def test_a_second_signal_does_not_wait_for_the_deaf(diary: Diary) -> None:
    with _supervisor_process(diary, deaf=True) as process:

        def ended() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        until(ended, "the second signal ends it", within=20)
        # One more that comes when all is over finds the interpreter on its way out.
        assert process.returncode in (7, -signal.SIGINT)
    assert all(map(gone, diary.pids("a") + diary.pids("base")))
