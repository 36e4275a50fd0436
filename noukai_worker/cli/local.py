"""`dev` and `demo` as a person sees them: one prefixed log, and runs side by side."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from rich.text import Text

from ..dev.demo import ACTS, Act, play
from ..dev.stack import Folder, Ports, services
from ..dev.supervisor import OWN_NAME, AsyncSupervisor
from ..runs import Entry, EntryType
from .screen import JsonScreen, PlainScreen, Screen, SideBySide, console
from .story import one_line

_COLOURS = {"redis": "red", "flows": "magenta", "worker": "green", "stream": "cyan", "web": "blue", OWN_NAME: "bold"}
_WIDTH = max(map(len, _COLOURS))
_INTERRUPTED = 130
_OPENING = "starting Redis, a local Noukai, two workers and the web application"
_EXAMPLE = '{"flow": "acme/demo/slow-essay", "message": "a lighthouse"}'


def develop(folder: Path, *, redis_port: int, flow_port: int, web_port: int, flows: Path | None) -> int:
    """Run everything until Ctrl-C or SIGTERM. Raises PortTaken, FolderInUse, ServerMissing, ServiceNotReady."""
    ports = Ports(redis_port, flow_port, web_port)
    ports.check()
    out = console()

    def log(name: str, line: str) -> None:
        out.print(Text.assemble((f"{name:>{_WIDTH}} | ", _COLOURS[name]), one_line(line)), soft_wrap=True)

    async def until_stopped() -> None:
        async with AsyncSupervisor(services(place, ports, flows=flows), log=log) as supervisor:
            for line in _what_now(ports):
                log(OWN_NAME, line)
            await supervisor.wait()

    with Folder(folder) as place:
        log(OWN_NAME, f"starting; Ctrl-C stops everything, {place} keeps the runs")
        try:
            asyncio.run(until_stopped())
        except asyncio.CancelledError:
            log(OWN_NAME, "stopped")
    return 0


def _what_now(ports: Ports) -> list[str]:
    return [
        "ready. In another terminal:",
        f"  export NOUKAI_REDIS_URL={ports.redis_url}",
        '  noukai-worker enqueue acme/demo/slow-essay --message "a lighthouse" --follow',
        f"or over HTTP ({ports.web_url}/docs):",
        f"  curl -s {ports.web_url}/runs -H 'Content-Type: application/json' -d '{_EXAMPLE}'",
        f"  curl -N {ports.web_url}/runs/ID/events",
    ]


def demo(*, as_json: bool) -> int:
    """Play the demo; 0 if every run completed. What the processes wrote is shown only if something went wrong."""
    names = {act: act.flow for act in ACTS}
    screen = _screen(list(names.values()), as_json=as_json)
    talk = console(stderr=as_json)
    with tempfile.TemporaryDirectory(prefix="noukai-demo-log-") as folder:
        log = Path(folder) / "log"

        def show(act: Act, entry: Entry) -> None:
            screen.show(names[act], entry)

        try:
            with screen:
                last = play(show, log)
        except asyncio.CancelledError:
            talk.print("stopped")
            return _INTERRUPTED
        except Exception:
            _show_log(log)
            raise
        for act, entry in last.items():
            talk.print(
                f"{names[act]} ({act.mode}): {entry.type.removeprefix('run.')}, {entry.seq} entries, run {entry.run_id}"
            )
        if all(entry.type == EntryType.COMPLETED for entry in last.values()):
            return 0
        _show_log(log)
        return 1


def _screen(names: list[str], *, as_json: bool) -> Screen:
    if as_json:
        return JsonScreen()
    out = console()
    if out.is_terminal:
        return SideBySide(out, names, _OPENING)
    out.print(_OPENING)
    return PlainScreen(out, names)


def _show_log(log: Path) -> None:
    if log.exists():
        sys.stderr.write(log.read_text(encoding="utf-8"))
        sys.stderr.flush()
